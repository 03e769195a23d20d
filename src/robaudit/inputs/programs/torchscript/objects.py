"""The objects of a TorchScript archive, by a small reader of the part of pickle's language that torch writes them in.

It knows tensors, lists, tables and the archive's own classes. Nothing that it makes could be called.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import read_record
from robaudit.inputs.files.pickles import PICKLE

_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple, "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}  # fmt: skip
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
#: The largest number in the shape of a tensor.
_LARGEST = 1 << 40


class UnreadError(RobauditError):
    """The archive holds what is not read here, in words that continue 'FILE: has'."""

    def __init__(self, what: str) -> None:
        super().__init__(f"has {what}, which is not read as data")


class Instance:
    """An object of a class that the archive's code defines: attributes, and nothing that could be called."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.attributes: dict[str, Any] = {}


class Record(tuple[Any, ...]):
    """A tuple whose items have names."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: tuple[str, ...], items: Sequence[Any]) -> Record:
        """A record of these items."""
        if len(names) != len(items):
            raise UnreadError("a tuple of another length")
        record = cls(items)
        record.names = names
        return record


def member(kind: str, value: Any) -> Record:
    """A member of an enumeration."""
    return Record.of(("kind", "value"), (kind, value))


class _Maker:
    """What a name of the pickle stands for; only the reader calls it."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


class Objects:
    """One pickle of an archive and the storages beside it.

    Args:
        archive: the archive.
        name: of the pickle, without its ending; the folder of its storages has it too.
        records, enums: as `Script` has them.

    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        name: str,
        records: dict[str, tuple[str, ...]],
        enums: dict[str, dict[str, Record]],
    ) -> None:
        self._archive, self._name, self._records, self._enums = archive, name, records, enums
        self._storages: dict[str, Tensor] = {}
        self._tensors: dict[Any, Tensor] = {}

    def read(self) -> Any:
        """The object.

        Raises:
            UnreadError: it is damaged or holds another kind of object.

        """
        try:
            return self._followed(read_record(self._archive, f"{self._name}.pkl", PICKLE))
        except RobauditError:
            raise
        except Exception as error:
            raise UnreadError(f"objects that are damaged or strange ({type(error).__name__})") from error

    def _followed(self, data: bytes) -> Any:  # noqa: PLR0912  one branch for each kind of opcode
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name in _PLAIN:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "TUPLE":
                stack.append(tuple(since_mark()))
            elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
                stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
            elif name in {"BINPUT", "LONG_BINPUT"}:
                memo[int(argument)] = stack[-1]  # type: ignore[arg-type]
            elif name in {"BINGET", "LONG_BINGET"}:
                stack.append(memo[int(argument)])  # type: ignore[arg-type]
            elif name == "GLOBAL":
                stack.append(_Maker(self._named(*str(argument).split(" ", 1))))
            elif name in {"REDUCE", "NEWOBJ"}:
                given = stack.pop()
                stack.append(stack.pop().make(*given if isinstance(given, tuple) else (given,)))
            elif name == "BINPERSID":
                stack.append(self._storage(*stack.pop()))
            elif name in {"APPEND", "APPENDS"}:
                items = since_mark() if name == "APPENDS" else [stack.pop()]
                _list(stack[-1]).extend(items)
            elif name in {"SETITEM", "SETITEMS"}:
                items = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                _fill(stack[-1], items)
            elif name == "BUILD":
                _build(stack.pop(), stack[-1])
            elif name == "STOP":
                return stack.pop()
            elif name != "PROTO":
                raise UnreadError(f"objects that torch does not write ({name})")
        raise UnreadError("objects that are cut short")

    def _named(self, module: str, name: str) -> Callable[..., Any]:
        """What stands for a name."""
        full = f"{module}.{name}"
        if full in self._enums:
            return lambda value: member(full, value)
        if full in self._records:
            return lambda *items: Record.of(self._records[full], items)
        if full.startswith("__torch__."):
            return lambda: Instance(full)
        if module == "torch" and name in _STORAGES:
            return lambda: _STORAGES[name]
        if module == "torch.jit._pickle" and name.startswith("build_") and name.endswith("list"):
            return lambda items: list(_list(items))
        known: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "collections.OrderedDict": lambda: {},
            "torch.device": lambda _: None,
            "torch.jit._pickle.restore_type_tag": lambda value, _: value,
        }
        if full not in known:
            raise UnreadError(f"objects of {full[:80]!r}")
        return known[full]

    def _storage(self, _: Any, kind: Any, key: Any, __: Any, count: Any) -> Tensor:
        """A storage as a flat tensor."""
        dtype = kind.make() if isinstance(kind, _Maker) else None
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int:
            raise UnreadError("a strange storage")
        if key not in self._storages:
            name = f"{self._name}/{key}"
            data = read_record(self._archive, name, self._archive.getinfo(name).file_size)
            if not 0 <= count * dtype.itemsize <= len(data):
                raise UnreadError("a storage that is shorter than it says")
            flat = torch.frombuffer(bytearray(data or b"\0" * 8), dtype=dtype)[:count]
            self._storages[key] = flat.float() if dtype.is_floating_point else flat
        return self._storages[key]

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        numbers = (offset, *size, *stride)
        if not all(type(number) is int and 0 <= number < _LARGEST for number in numbers):
            raise UnreadError("a tensor of a strange shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if not isinstance(storage, Tensor) or (count and max(last + 1, count) > len(storage)):
            raise UnreadError("a tensor that is larger than its storage")
        key = (id(storage), numbers, len(size))
        if key not in self._tensors:
            self._tensors[key] = storage.as_strided(size, stride, offset)
        return self._tensors[key]


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise UnreadError("objects in what is no list")
    return value


def _fill(table: Any, items: list[Any]) -> None:
    if type(table) is not dict or not all(isinstance(key, (str, int, float)) for key in items[::2]):
        raise UnreadError("a table by what is no text or number")
    table.update(zip(items[::2], items[1::2], strict=True))


def _build(state: Any, instance: Any) -> None:
    if not isinstance(instance, Instance) or type(state) is not dict:
        raise UnreadError("an object without named attributes")
    instance.attributes = state
