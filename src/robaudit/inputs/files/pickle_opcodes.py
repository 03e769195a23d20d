"""The opcodes of the pickle format, by a machine that knows no import and calls nothing a file names."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

#: More opcodes than a checkpoint of a million parameters' names needs.
OPCODES = 2_000_000
#: Numbers and texts that a pickle's dict may have as keys; a larger number could be made to collide with others.
_LARGEST_KEY = 1 << 63


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

    def read(self) -> Any:
        """The object.

        Raises:
            UnsafePickle: it is too long, damaged, or has an opcode that no checkpoint uses.

        """
        data, actions = self.data, _ACTIONS
        for _ in range(OPCODES):
            code = data[self.place]
            self.place += 1
            if code == _STOP:
                return self.stack.pop()
            action = actions.get(code)
            if action is None:
                raise UnsafePickle(f"its pickle uses the opcode 0x{code:02x}, which no checkpoint does")
            action(self)
        raise UnsafePickle("its pickle is absurdly long")

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
            raise UnsafePickle("its pickle names something by what is no text")
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


def _key(value: Any) -> Any:
    """A dict's key whose hash takes no time and cannot be made to collide."""
    parts = value if type(value) is tuple and len(value) <= 16 else (value,)
    for part in parts:
        if type(part) is int and not -_LARGEST_KEY <= part < _LARGEST_KEY:
            raise UnsafePickle("its pickle has an absurdly large number as a key")
        if type(part) in (tuple, list, dict):
            return Inert("a nested key")
    return value


def _append(target: Any, items: list[Any]) -> None:
    if type(target) is list:
        target.extend(items)
    elif not isinstance(target, Inert):
        raise UnsafePickle("its pickle puts items into what is no list")


def _set_items(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise UnsafePickle("its pickle is damaged (a key without a value)")
    if type(target) is dict:
        for place in range(0, len(items), 2):
            target[_key(items[place])] = items[place + 1]
    elif not isinstance(target, Inert):
        raise UnsafePickle("its pickle puts items into what is no dict")


def _dict(items: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    _set_items(found, items)
    return found


def _build(reader: Reader) -> None:
    state = reader.pop()
    target = reader.top()
    if isinstance(target, Inert):  # attributes of anything else, such as a state dict's, are not kept
        target.state = state


def _int_line(reader: Reader) -> Any:
    text = reader.line()
    return text == b"01" if text in (b"00", b"01") else int(text)


def _instance(reader: Reader) -> Any:
    name = reader.name(reader.line().decode(), reader.line().decode())
    return reader.call(name, tuple(reader.since_mark()))


def _object(reader: Reader) -> Any:
    items = reader.since_mark()
    return reader.call(items[0], tuple(items[1:]))


def _reduce(reader: Reader) -> Any:
    arguments = reader.pop()
    return reader.call(reader.pop(), arguments)


def _new_with_names(reader: Reader) -> Any:
    reader.pop()  # named arguments; no builder takes any
    return _reduce(reader)


def _stack_global(reader: Reader) -> Any:
    name = reader.pop()
    return reader.name(reader.pop(), name)


def _persistent(reader: Reader, identifier: Any) -> Any:
    if reader.persistent is None:
        raise UnsafePickle("its pickle refers to what is stored elsewhere")
    return reader.persistent(identifier)


def _remember(reader: Reader, place: int) -> None:
    reader.memo[place] = reader.top()


def _tuple(reader: Reader, count: int) -> tuple[Any, ...]:
    items = [reader.pop() for _ in range(count)]
    return tuple(items[::-1])


_U1, _U2, _I4, _U4, _U8, _F8 = (struct.Struct(code) for code in ("<B", "<H", "<i", "<I", "<Q", ">d"))


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "backslashreplace")


def _drop(reader: Reader) -> None:
    """Take a value away, or a mark that nothing follows."""
    if reader.marks and reader.marks[-1] == len(reader.stack):
        reader.marks.pop()
    else:
        reader.pop()


def _append_one(reader: Reader) -> None:
    item = reader.pop()
    _append(reader.top(), [item])


def _append_all(reader: Reader) -> None:
    items = reader.since_mark()
    _append(reader.top(), items)


def _set_one(reader: Reader) -> None:
    value = reader.pop()
    key = reader.pop()
    _set_items(reader.top(), [key, value])


def _set_all(reader: Reader) -> None:
    items = reader.since_mark()
    _set_items(reader.top(), items)


#: Opcodes that put one value onto the stack.
_VALUES: dict[bytes, Callable[[Reader], Any]] = {
    b"N": lambda r: None, b"\x88": lambda r: True, b"\x89": lambda r: False,
    b"I": _int_line, b"J": lambda r: r.number(_I4), b"K": lambda r: r.number(_U1), b"M": lambda r: r.number(_U2),
    b"L": lambda r: int(r.line().removesuffix(b"L")),
    b"\x8a": lambda r: int.from_bytes(r.take(r.number(_U1)), "little", signed=True),
    b"\x8b": lambda r: int.from_bytes(r.take(r.number(_I4)), "little", signed=True),
    b"F": lambda r: float(r.line()), b"G": lambda r: r.number(_F8),
    b"S": lambda r: r.old_text(codecs.escape_decode(r.line()[1:-1])[0]),
    b"T": lambda r: r.old_text(bytes(r.take(r.number(_I4)))),
    b"U": lambda r: r.old_text(bytes(r.take(r.number(_U1)))),
    b"V": lambda r: r.line().decode("raw-unicode-escape"),
    b"X": lambda r: _text(r.take(r.number(_U4))), b"\x8c": lambda r: _text(r.take(r.number(_U1))),
    b"\x8d": lambda r: _text(r.take(r.number(_U8))),
    b"B": lambda r: bytes(r.take(r.number(_U4))), b"C": lambda r: bytes(r.take(r.number(_U1))),
    b"\x8e": lambda r: bytes(r.take(r.number(_U8))), b"\x96": lambda r: bytes(r.take(r.number(_U8))),
    b"]": lambda r: [], b")": lambda r: (), b"}": lambda r: {}, b"\x8f": lambda r: [],
    b"l": lambda r: r.since_mark(), b"t": lambda r: tuple(r.since_mark()), b"d": lambda r: _dict(r.since_mark()),
    b"\x91": lambda r: r.since_mark(),
    b"\x85": lambda r: _tuple(r, 1), b"\x86": lambda r: _tuple(r, 2), b"\x87": lambda r: _tuple(r, 3),
    b"2": lambda r: r.top(),
    b"g": lambda r: r.memo[int(r.line())], b"h": lambda r: r.memo[r.number(_U1)], b"j": lambda r: r.memo[r.number(_U4)],
    b"c": lambda r: r.name(r.line().decode(), r.line().decode()), b"\x93": _stack_global,
    b"i": _instance, b"o": _object, b"R": _reduce, b"\x81": _reduce, b"\x92": _new_with_names,
    b"P": lambda r: _persistent(r, r.line().decode("latin-1")), b"Q": lambda r: _persistent(r, r.pop()),
}  # fmt: skip
#: Opcodes that do something to what is there.
_CHANGES: dict[bytes, Callable[[Reader], Any]] = {
    b"\x80": lambda r: r.take(1), b"\x95": lambda r: r.take(8),
    b"(": lambda r: r.marks.append(len(r.stack)), b"0": _drop, b"1": lambda r: r.since_mark(),
    b"a": _append_one, b"s": _set_one,
    b"e": _append_all, b"\x90": _append_all, b"u": _set_all,
    b"b": _build,
    b"p": lambda r: _remember(r, int(r.line())), b"q": lambda r: _remember(r, r.number(_U1)),
    b"r": lambda r: _remember(r, r.number(_U4)), b"\x94": lambda r: _remember(r, len(r.memo)),
}  # fmt: skip


def _pushing(value: Callable[[Reader], Any]) -> Callable[[Reader], None]:
    def push(reader: Reader) -> None:
        found = value(reader)
        reader.stack.append(found)

    return push


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[Reader], Any]] = {
    **{code[0]: _pushing(value) for code, value in _VALUES.items()},
    **{code[0]: change for code, change in _CHANGES.items()},
}
