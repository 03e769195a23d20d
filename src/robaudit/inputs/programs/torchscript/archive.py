"""A TorchScript archive as data: its objects by a restricted unpickler, its code as syntax trees."""

from __future__ import annotations

import ast
import io
import pickle
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robaudit.inputs.files.archives import Archive
from robaudit.inputs.files.pickles import PICKLE

#: Bytes of all code together.
CODE = 8 << 20
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class UnreadError(Exception):
    """The archive holds what is not read here."""


class Instance:
    """An object of a class that the archive's code defines: attributes, and nothing that could be called."""

    kind = ""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise UnreadError("an object without named attributes")
        self.attributes = state


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

    """

    root: Instance
    constants: tuple[Any, ...]
    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)


def read_script(archive: Archive) -> Script:
    """Read an archive whose pickles were checked for absurd demands already.

    Raises:
        UnreadError: it holds what is not read here.
        RobauditError: a record is damaged.

    """
    names = set(archive.names)
    folder = next(
        (name.removesuffix("data.pkl") for name in sorted(names) if name.endswith("/data.pkl")), None
    )
    if folder is None:
        raise UnreadError("no objects")
    root = _Unpickler(archive, folder, "data").load()
    constants = _Unpickler(archive, folder, "constants").load() if f"{folder}constants.pkl" in names else ()
    if not isinstance(root, Instance) or not isinstance(constants, tuple):
        raise UnreadError("no model")
    script = Script(root, constants)
    left = CODE
    for name in sorted(names):
        if name.startswith(f"{folder}code/") and name.endswith(".py"):
            source = bytes(archive.read(name, left))
            left -= len(source)
            module = name.removeprefix(f"{folder}code/").removesuffix(".py").replace("/", ".")
            _define(script, module, source)
    return script


def _define(script: Script, module: str, source: bytes) -> None:
    try:
        tree = ast.parse(source.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadError(f"code in {module[:60]}") from error
    for item in tree.body:
        if isinstance(item, ast.FunctionDef):
            script.functions[f"{module}.{item.name}"] = item
        elif isinstance(item, ast.ClassDef):
            methods = {part.name: part for part in item.body if isinstance(part, ast.FunctionDef)}
            constants = {
                part.target.id: part.value
                for part in item.body
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.value
            }
            learned = frozenset(
                name.value
                for part in item.body
                if isinstance(part, ast.Assign) and isinstance(part.value, ast.List)
                if isinstance(part.targets[0], ast.Name) and part.targets[0].id == "__parameters__"
                for name in part.value.elts
                if isinstance(name, ast.Constant) and isinstance(name.value, str)
            )
            script.classes[f"{module}.{item.name}"] = Class(methods, constants, learned)


def dotted(node: ast.expr) -> list[str] | None:
    """The names of `a.b.c`; None for other expressions."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *names[::-1]] if isinstance(node, ast.Name) else None


class _Unpickler(pickle.Unpickler):
    """Knows tensors, lists of numbers and the archive's own classes as `Instance`s; every other name is refused."""

    def __init__(self, archive: Archive, folder: str, name: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}{name}.pkl", PICKLE)))
        self._archive, self._folder = archive, f"{folder}{name}/"
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
            raise UnreadError(f"its objects ({type(error).__name__})") from error

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Instance", (Instance,), {"kind": f"{module}.{name}"})
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        found = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("collections", "OrderedDict"): dict,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
            **{
                ("torch.jit._pickle", f"build_{kind}list"): list
                for kind in ("int", "double", "bool", "tensor")
            },
        }.get((module, name))
        if found is None:
            raise UnreadError(f"objects of {module[:40]}.{name[:40]}")
        return found

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage as a flat tensor."""
        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not isinstance(count, int):
            raise UnreadError("a storage")
        if key not in self._storages:
            name = f"{self._folder}{key}"
            data = self._archive.read(name, self._archive.size(name))
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
        size, stride = tuple(size), tuple(stride)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = torch.Size(size).numel()
        if min([offset, *size, *stride, 0]) < 0 or (count and (last >= len(storage) or count > len(storage))):
            raise UnreadError("a tensor that is larger than its storage")
        key = (id(storage), offset, size, stride)
        if key not in self._tensors:
            self._tensors[key] = storage.as_strided(size, stride, offset)
        return self._tensors[key]
