"""Reading a pickle as data: an interpreter of its opcodes that knows no import and calls nothing a file names.

Python's own unpickler imports what a pickle names and calls it. Here a name is a `Name`, and calling it gives an
`Inert` that says what it would have been, unless the name is in the reader's own table of builders: those check their
arguments. Every opcode takes time and memory in proportion to the bytes that it consumes, and nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import islice
from typing import Any

from robaudit.inputs.files.pickle_opcodes import ACTIONS
from robaudit.inputs.files.pickle_reader import Builders, Inert, Name, Reader, UnsafePickle

__all__ = ["PICKLE", "Builders", "Inert", "Name", "UnsafePickle", "pickled_objects", "read_pickle", "scan"]

#: A pickle of names and shapes is never larger; tensors are stored beside it.
PICKLE = 64 << 20


def read_pickle(
    data: bytes | memoryview,
    start: int = 0,
    builders: Builders | None = None,
    persistent: Callable[[Any], Any] | None = None,
    *,
    texts: bool = True,
) -> tuple[Any, set[str], int]:
    """Read one pickle.

    Args:
        data: bytes that hold it.
        start: where it begins.
        builders: what to make of a call of a name ("module name"), given its arguments; they raise `UnsafePickle`
            or `TypeError` where these are not as they must be. Other calls give an `Inert`.
        persistent: what to make of a persistent identifier; without it there must be none.
        texts: whether old byte strings are texts (Latin-1) or bytes.

    Returns:
        the object (dicts, lists, tuples, texts, numbers, what the builders made, `Inert`, `Name`), the names that the
        pickle refers to, and where it ends.

    Raises:
        UnsafePickle: it is damaged, or asks for what only an attack asks for.

    """
    reader = Reader(memoryview(data), start, builders or {}, persistent, texts)
    try:
        value = reader.read(ACTIONS)
    except UnsafePickle:
        raise
    except (IndexError, KeyError, ValueError, TypeError, struct.error, UnicodeError, OverflowError) as error:
        raise UnsafePickle(f"its pickle is damaged or cut short ({type(error).__name__})") from error
    return value, reader.names, reader.place


def scan(data: bytes | memoryview, start: int = 0) -> tuple[set[str], int]:
    """The names ("module name") that the pickle at `start` refers to, and where it ends.

    Raises:
        UnsafePickle: not a pickle, or one that only an attack contains.

    """
    return read_pickle(data, start, persistent=lambda _: None)[1:]


def pickled_objects(tree: Any) -> list[str]:
    """Names of the classes whose instances stand in a tree, two levels deep."""
    nodes, found = [tree], []
    for _ in range(3):
        below: list[Any] = []
        for node in nodes[:1000]:
            if isinstance(node, Inert):
                found.append(node.named)
            elif isinstance(node, (dict, list, tuple)):
                below += islice(node.values() if isinstance(node, dict) else node, 1000)
        nodes = below
    return sorted(set(found))
