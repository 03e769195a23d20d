"""Reading a checkpoint's pickle without running it: what it names, and whether its sizes are honest.

`torch.load(weights_only=True)` refuses unknown names, but allocates what a pickle asks for before it looks
at the file's size. So each pickle is first walked here, opcode by opcode, then rebuilt with inert
stand-ins, and every tensor is compared with the bytes that are there.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from robaudit.inputs.files.pickle_names import UnsafePickle

#: More opcodes than a checkpoint of a million parameters' names needs.
OPCODES = 2_000_000
#: A pickle of names and shapes is never larger; tensors are stored beside it.
PICKLE = 64 << 20
BYTES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
    "Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16, "Untyped": 1,
}  # fmt: skip


def scan(data: bytes, start: int = 0) -> tuple[set[str], int]:
    """The names ("module name") that the pickle at `start` refers to, and where it ends.

    Raises:
        UnsafePickle: not a pickle, or one that only an attack contains.

    """
    names: set[str] = set()
    strings: list[str] = []
    end = start
    stream = io.BytesIO(data)
    stream.seek(start)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
            if count > OPCODES:
                raise UnsafePickle("its pickle is absurdly long")
            name = opcode.name
            if name in ("GLOBAL", "INST"):
                names.add(str(argument))
            elif name == "STACK_GLOBAL":
                names.add(" ".join(strings[-2:]))
            elif name in ("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"):
                raise UnsafePickle(f"its pickle uses {name}, which no checkpoint does")
            elif "PUT" in name and isinstance(argument, int) and argument > count + 1:
                raise UnsafePickle("its pickle asks for absurd memory")
            if isinstance(argument, str):
                strings = [*strings[-1:], argument]
            end = (position or 0) + 1
    except UnsafePickle:
        raise
    except Exception as error:
        raise UnsafePickle("it is damaged or cut short") from error
    return names, end


class Inert:
    """Stands for any object of a pickle; takes everything and does nothing."""

    named = "an object"

    def __new__(cls, *args: Any, **options: Any) -> Inert:
        """Take any arguments."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)

    def append(self, value: Any) -> None:
        """Take it."""

    def extend(self, values: Any) -> None:
        """Take them."""

    def add(self, value: Any) -> None:
        """Take it."""


def stand_in(name: str) -> type[Inert]:
    """An inert class for a name."""
    return type("Inert", (Inert,), {"named": name.replace(" ", "."), "__module__": __name__})


class _Checker(pickle.Unpickler):
    """Rebuilds a checkpoint's tree with inert objects; tensors are checked and become `Inert` too."""

    def __init__(self, data: io.BytesIO, sizes: Callable[[str, int], int]) -> None:
        super().__init__(data, encoding="latin1")
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        """An inert stand-in for every name; functions that rebuild tensors check them instead."""
        if module == "collections" and name == "OrderedDict":
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _check_tensor
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda data, *_: data
        if module.startswith("torch") and name.endswith("Storage"):
            return f"storage:{name.removesuffix('Storage')}"
        return stand_in(f"{module} {name}")

    def persistent_load(self, pid: Any) -> Any:
        """A storage, its size compared with the bytes that are there."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":  # a class with its source text
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[4], int):
            raise UnsafePickle("its storages are not as PyTorch writes them")
        kind = pid[1].removeprefix("storage:") if isinstance(pid[1], str) else ""
        width = BYTES.get(kind)
        if width is None or pid[4] < 0:
            raise UnsafePickle(f"it stores numbers of an unknown kind '{kind[:40]}'")
        if pid[4] * width > self._sizes(str(pid[2]), pid[4] * width):
            raise UnsafePickle(f"a tensor claims {pid[4] * width:,} bytes, more than the file has for it")
        return ("storage", pid[4])


def _check_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Inert:
    if not isinstance(storage, tuple) or storage[0] != "storage":
        raise UnsafePickle("a tensor has no storage")
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise UnsafePickle("a tensor has an absurd shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and (last >= storage[1] or count > max(storage[1], 1 << 16)):
        raise UnsafePickle(f"a tensor of shape {size} is larger than its storage")
    return stand_in("torch Tensor")()


def pickled_objects(tree: Any) -> list[str]:
    """Names of the classes whose instances stand in a tree, two levels deep."""
    nodes, found = [tree], []
    for _ in range(3):
        below: list[Any] = []
        for node in nodes:
            if isinstance(node, Inert):
                found.append(node.named)
            elif isinstance(node, dict):
                below += list(node.values())
            elif isinstance(node, (list, tuple)):
                below += list(node)
        nodes = below[:1000]
    return sorted(set(found))


def empty_dict(*_: Any) -> dict[Any, Any]:
    """Stands for `collections.defaultdict`."""
    return {}


def check_tree(data: bytes, start: int, sizes: Callable[[str, int], int]) -> Any:
    """Rebuild the pickle at `start` with inert objects and check every tensor against its bytes.

    Args:
        data: the file or the record that holds the pickle.
        start: where it begins.
        sizes: bytes that are there for a storage's key, given the bytes it claims.

    Raises:
        UnsafePickle: a tensor or storage claims more than there is, or the pickle is damaged.

    """
    try:
        return _Checker(io.BytesIO(memoryview(data)[start:]), sizes).load()
    except UnsafePickle:
        raise
    except RecursionError as error:
        raise UnsafePickle("its pickle is nested absurdly deep") from error
    except Exception as error:
        raise UnsafePickle(f"its pickle is damaged ({type(error).__name__})") from error
