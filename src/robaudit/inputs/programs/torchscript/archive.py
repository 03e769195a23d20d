"""A TorchScript archive as data: its objects by a restricted unpickler, its code as syntax trees."""

from __future__ import annotations

import ast
import io
import math
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import read_record
from robaudit.inputs.files.pickles import PICKLE

#: Bytes of all code together.
CODE = 8 << 20
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class UnreadError(RobauditError):
    """The archive holds what is not read here, in words that continue 'FILE: has'."""

    def __init__(self, what: str) -> None:
        super().__init__(f"has {what}, which is not read as data")


class Instance:
    """An object of a class that the archive's code defines: attributes, and nothing that could be called."""

    kind = ""

    def __init__(self) -> None:
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


@dataclass(frozen=True)
class Class:
    """A class of the archive's code: its methods, its constants, and the names of its learned tensors."""

    methods: dict[str, ast.FunctionDef]
    constants: dict[str, ast.expr]
    learned: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Script:
    """An archive.

    Attributes:
        root: the model.
        constants: tensors that the code calls `CONSTANTS.c0` and so on.
        classes: by full name.
        functions: by full name.
        records: the items' names of tuples with names, by full name.
        enums: members of enumerations by name, by full name.

    """

    root: Instance = field(default_factory=Instance)
    constants: tuple[Any, ...] = ()
    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    records: dict[str, tuple[str, ...]] = field(default_factory=dict)
    enums: dict[str, dict[str, Record]] = field(default_factory=dict)


def read_script(archive: zipfile.ZipFile) -> Script:
    """Read an archive.

    Raises:
        UnreadError: it holds what is not read here, or code that would run while it is loaded.
        RobauditError: a record is damaged.

    """
    names = set(archive.namelist())
    folder = next(
        (name.removesuffix("data.pkl") for name in sorted(names) if name.endswith("/data.pkl")), None
    )
    if folder is None:
        raise UnreadError("no objects")
    script = Script()
    left = CODE
    for name in sorted(names):
        if name.startswith(f"{folder}code/") and name.endswith(".py"):
            source = read_record(archive, name, left)
            left -= len(source)
            module = name.removeprefix(f"{folder}code/").removesuffix(".py").replace("/", ".")
            _define(script, module, source)
    root = _Unpickler(archive, folder, "data", script).load()
    constants = ()
    if f"{folder}constants.pkl" in names:
        constants = _Unpickler(archive, folder, "constants", script).load()
    if not isinstance(root, Instance) or not isinstance(constants, tuple):
        raise UnreadError("no model")
    return replace(script, root=root, constants=constants)


def _define(script: Script, module: str, source: bytes) -> None:
    try:
        tree = ast.parse(source.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadError("code that does not parse") from error
    for item in tree.body:
        if isinstance(item, ast.FunctionDef):
            script.functions[f"{module}.{item.name}"] = item
        elif isinstance(item, ast.ClassDef):
            _define_class(script, f"{module}.{item.name}", item)


def _define_class(script: Script, name: str, item: ast.ClassDef) -> None:
    methods = {part.name: part for part in item.body if isinstance(part, ast.FunctionDef)}
    if "__setstate__" in methods:
        raise UnreadError("code that runs while it is loaded (__setstate__)")
    annotated = [
        part for part in item.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    ]
    if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in item.bases):
        script.records[name] = tuple(part.target.id for part in annotated)  # type: ignore[union-attr]
    if any(isinstance(base, ast.Name) and base.id == "Enum" for base in item.bases):
        script.enums[name] = {
            part.targets[0].id: member(name, part.value.value)
            for part in item.body
            if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant)
            if isinstance(part.targets[0], ast.Name)
        }
    constants = {part.target.id: part.value for part in annotated if part.value}  # type: ignore[union-attr]
    learned = frozenset(
        entry.value
        for part in item.body
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.List)
        if isinstance(part.targets[0], ast.Name) and part.targets[0].id == "__parameters__"
        for entry in part.value.elts
        if isinstance(entry, ast.Constant) and isinstance(entry.value, str)
    )
    script.classes[name] = Class(methods, constants, learned)


def dotted(node: ast.expr) -> list[str] | None:
    """The names of `a.b.c`; None for other expressions."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *names[::-1]] if isinstance(node, ast.Name) else None


#: What torch writes such files with; the rest of pickle's language is not read.
_WRITTEN = (
    pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1,
    pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.BINPERSID, pickle.GLOBAL, pickle.REDUCE,
    pickle.BUILD, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST,
    pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.BINPUT, pickle.LONG_BINPUT,
    pickle.BINGET, pickle.LONG_BINGET, pickle.NEWOBJ,
)  # fmt: skip


class _Unpickler(pickle._Unpickler):
    """Knows tensors, lists of numbers and the archive's own classes as `Instance`s; every other name is refused."""

    dispatch = {code[0]: pickle._Unpickler.dispatch[code[0]] for code in _WRITTEN}  # noqa: RUF012

    def __init__(
        self, archive: zipfile.ZipFile, folder: str, name: str, script: Script
    ) -> None:
        super().__init__(io.BytesIO(read_record(archive, f"{folder}{name}.pkl", PICKLE)))
        self._archive, self._folder = archive, f"{folder}{name}/"
        self._script = script
        self._storages: dict[str, Tensor] = {}
        self._tensors: dict[Any, Tensor] = {}

    def load(self) -> Any:
        """The object.

        Raises:
            UnreadError: it is damaged or holds another kind of object.

        """
        try:
            return super().load()
        except UnreadError:
            raise
        except Exception as error:
            raise UnreadError(f"objects that are damaged or strange ({type(error).__name__})") from error

    def _reduce(self) -> None:
        given = self.stack.pop()
        self.stack[-1] = self.stack[-1](*given) if isinstance(given, tuple) else self.stack[-1](given)

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Instance) or not isinstance(state, dict):
            raise UnreadError("an object without named attributes")
        self.stack[-1].attributes = state

    def _set_items(self) -> None:
        items = self.pop_mark()
        if not all(isinstance(key, (str, int, float)) for key in items[::2]):
            raise UnreadError("a table by what is no text or number")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _set_item(self) -> None:
        *_, key, value = self.stack
        del self.stack[-2:]
        self.metastack.append(self.stack)
        self.stack = [key, value]
        self._set_items()

    dispatch |= {pickle.REDUCE[0]: _reduce, pickle.BUILD[0]: _build, pickle.SETITEMS[0]: _set_items, pickle.SETITEM[0]: _set_item}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name."""
        full = f"{module}.{name}"
        if full in self._script.enums:
            return lambda value: member(full, value)
        if full in self._script.records:
            return lambda *items: Record.of(self._script.records[full], items)
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Instance", (Instance,), {"kind": full})
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        found = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("collections", "OrderedDict"): lambda: {},
            ("torch", "device"): lambda *_: None,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
        }.get((module, name))
        if module == "torch.jit._pickle" and name in {f"build_{kind}list" for kind in ("int", "double", "bool", "tensor")}:
            found = lambda items: list(items)  # noqa: E731
        if found is None:
            raise UnreadError(f"objects of {full[:80]!r}")
        return found

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage as a flat tensor."""
        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int:
            raise UnreadError("a strange storage")
        if key not in self._storages:
            name = f"{self._folder}{key}"
            data = read_record(self._archive, name, self._archive.getinfo(name).file_size)
            if count < 0 or len(data) < count * dtype.itemsize:
                raise UnreadError("a storage that is shorter than it says")
            flat = (
                torch.frombuffer(bytearray(data), dtype=dtype)[:count]
                if count
                else torch.empty(0, dtype=dtype)
            )
            self._storages[key] = flat.float() if dtype.is_floating_point else flat
        return self._storages[key]

    def _tensor(self, storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        numbers = (offset, *size, *stride)
        if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers):
            raise UnreadError("a tensor of a strange shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if count and (last >= len(storage) or count > len(storage)):
            raise UnreadError("a tensor that is larger than its storage")
        key = (id(storage), numbers, len(size))
        if key not in self._tensors:
            self._tensors[key] = storage.as_strided(size, stride, offset)
        return self._tensors[key]
