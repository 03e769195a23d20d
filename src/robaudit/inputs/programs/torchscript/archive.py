"""A TorchScript archive as data: its code as syntax trees, beside its objects."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import Any

from robaudit.inputs.files.archives import Archive
from robaudit.inputs.files.quantised import check_script
from robaudit.inputs.programs.torchscript.objects import Instance, Record, UnreadError, member, read_objects

#: Bytes of all code together.
CODE = 8 << 20


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


def read_script(archive: Archive) -> Script:
    """Read an archive.

    Raises:
        UnreadError: it holds what is not read here, or code that would run while it is loaded.
        RobauditError: a record is damaged, or the network is quantised.

    """
    names = set(archive.names)
    folder = next(
        (name.removesuffix("data.pkl") for name in sorted(names) if name.endswith("/data.pkl")), None
    )
    if folder is None:
        raise UnreadError("no objects")
    script = Script()
    left = CODE
    sources = {}
    for name in sorted(names):
        if name.startswith(f"{folder}code/") and name.endswith(".py"):
            source = bytes(archive.read(name, left))
            left -= len(source)
            module = name.removeprefix(f"{folder}code/").removesuffix(".py").replace("/", ".")
            check_script(source.decode(errors="replace"))
            sources[module] = source
    for module, source in sources.items():
        _define(script, module, source)
    root = read_objects(archive, f"{folder}data", script.records, script.enums)
    constants = ()
    if f"{folder}constants.pkl" in names:
        constants = read_objects(archive, f"{folder}constants", script.records, script.enums)
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
