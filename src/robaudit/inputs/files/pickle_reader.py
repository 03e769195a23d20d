"""The state of reading a pickle: its stack, marks and memo; and what stands for names and objects in it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

#: More opcodes than a checkpoint of a million parameters' names needs.
OPCODES = 2_000_000
_STOP = ord(".")


class UnsafePickle(Exception):  # noqa: N818  turned into a RobauditError that names the file
    """What is wrong with a pickle, in words that continue 'FILE: '."""


class Name:
    """What a pickle refers to by name: never imported.

    Attributes:
        text: module and name, with a blank between.

    """

    def __init__(self, text: str) -> None:
        self.text = text


class Inert:
    """Stands for an object that is not rebuilt.

    Attributes:
        named: its class or the function that would have made it, dotted.
        arguments: what that would have been given.
        state: what would have been set.
        lacking: for a tensor of a kind that is not supported, which kind; empty otherwise.

    """

    def __init__(self, named: str, arguments: Any = (), lacking: str = "") -> None:
        self.named, self.arguments, self.lacking = named, arguments, lacking
        self.state: Any = None


Builders = Mapping[str, Callable[..., Any]]


class Reader:
    """A stack, the marks in it, and a memo, as the format defines them.

    Attributes:
        names: what the pickle referred to so far.
        place: where the next opcode stands.

    """

    def __init__(
        self,
        data: memoryview,
        start: int,
        builders: Builders,
        persistent: Callable[[Any], Any] | None,
        texts: bool,
    ) -> None:
        self.data, self.place, self.builders, self.persistent, self.texts = (
            data,
            start,
            builders,
            persistent,
            texts,
        )
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: set[str] = set()

    def read(self, actions: Mapping[int, Callable[[Reader], Any]]) -> Any:
        """The object.

        Args:
            actions: what each opcode does.

        Raises:
            UnsafePickle: it is too long, damaged, or has an opcode that no checkpoint uses.

        """
        data = self.data
        for _ in range(OPCODES):
            code = data[self.place]
            self.place += 1
            if code == _STOP:
                return self.stack.pop()
            action = actions.get(code)
            if action is None:
                raise UnsafePickle(f"its pickle uses the opcode 0x{code:02x}, which no checkpoint does")
            action(self)
        raise UnsafePickle(f"its pickle is too long (limit {OPCODES:,} opcodes)")

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size < 0 or self.place + size > len(self.data):
            raise UnsafePickle("its pickle is damaged or cut short")
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self, code: struct.Struct) -> Any:
        """The next number."""
        self.place += code.size
        return code.unpack_from(self.data, self.place - code.size)[0]

    def line(self) -> bytes:
        """The bytes up to the next line's end."""
        end, width = self.place, 256
        while True:  # in steps, for a memoryview cannot be searched
            part = bytes(self.data[end : end + width])
            found = part.find(b"\n")
            if found >= 0:
                break
            if not part:
                raise UnsafePickle("its pickle is damaged or cut short")
            end, width = end + len(part), width * 2
        text = bytes(self.data[self.place : end + found])
        self.place = end + found + 1
        return text

    def since_mark(self) -> list[Any]:
        """Take what was put onto the stack since the last mark, and the mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def top(self) -> Any:
        """The last value, which the one that came before the last mark may not be part of."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise UnsafePickle("its pickle is damaged or cut short")
        return self.stack[-1]

    def pop(self) -> Any:
        """Take the last value."""
        value = self.top()
        self.stack.pop()
        return value

    def name(self, module: Any, name: Any) -> Name:
        """What stands for a name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnsafePickle("its pickle names something by what is not a text")
        text = f"{module} {name}"
        self.names.add(text)
        return Name(text)

    def call(self, function: Any, arguments: Any) -> Any:
        """What stands for a call: what the reader's own builder makes, or an `Inert`."""
        if not isinstance(arguments, tuple):  # as torch writes the members of enumerations
            arguments = (arguments,)
        if not isinstance(function, Name):
            return Inert("an object")
        builder = self.builders.get(function.text)
        if builder:
            return builder(*arguments)
        strange = "of an unknown kind" if function.text.startswith("torch._utils _rebuild_") else ""
        return Inert(function.text.replace(" ", "."), arguments, strange)

    def old_text(self, raw: bytes) -> str | bytes:
        """A string of a protocol before 3."""
        return raw.decode("latin-1") if self.texts else raw
