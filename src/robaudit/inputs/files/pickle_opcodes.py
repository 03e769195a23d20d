"""The opcodes of the pickle format, by a machine that knows no import and calls nothing a file names."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from robaudit.inputs.files.pickle_reader import Inert, Reader, UnsafePickle

#: Numbers and texts that a pickle's dict may have as keys; a larger number could be made to collide with others.
_LARGEST_KEY = 1 << 63


def _key(value: Any) -> Any:
    """A dict's key whose hash takes no time and cannot be made to collide."""
    parts = value if type(value) is tuple and len(value) <= 16 else (value,)
    for part in parts:
        if type(part) is int and not -_LARGEST_KEY <= part < _LARGEST_KEY:
            raise UnsafePickle("its pickle has too large a number as a key (limit 2^63)")
        if type(part) in (tuple, list, dict):
            return Inert("a nested key")
    return value


def _append(target: Any, items: list[Any]) -> None:
    if type(target) is list:
        target.extend(items)
    elif not isinstance(target, Inert):
        raise UnsafePickle("its pickle puts items into what is not a list")


def _set_items(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise UnsafePickle("its pickle is damaged (a key without a value)")
    if type(target) is dict:
        for place in range(0, len(items), 2):
            target[_key(items[place])] = items[place + 1]
    elif not isinstance(target, Inert):
        raise UnsafePickle("its pickle puts items into what is not a dict")


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


#: By the opcode's number.
ACTIONS: dict[int, Callable[[Reader], Any]] = {
    **{code[0]: _pushing(value) for code, value in _VALUES.items()},
    **{code[0]: change for code, change in _CHANGES.items()},
}
