"""The source that a factory is made of: its file, and those beside it that it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from robaudit.places import expanded

#: Files of one factory's source that are followed.
_MOST_FILES = 2000


def source_digest(text: str) -> str:
    """A digest of the source of `FILE.py:FACTORY` or `package.module:FACTORY`, by content, wherever it lies.

    Imports are followed to files of the same folder, or of an installed package's own. Empty where there is no source.
    """
    left, _, name = text.rpartition(":")
    first = _file_of(left)
    if first is None:
        return ""
    found = hashlib.sha256(name.encode())
    for path in _with_imports(first, _root(left, first), left.partition(".")[0]):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _file_of(left: str) -> Path | None:
    if left.endswith(".py"):
        path = expanded(left).resolve()
        return path if path.is_file() else None
    try:
        spec = importlib.util.find_spec(left)
    except (ImportError, ValueError):
        return None
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _root(left: str, first: Path) -> Path:
    """The folder that the factory's imports are looked up in."""
    if left.endswith(".py"):
        return first.parent
    depth = left.count(".") + (first.name == "__init__.py")
    return first.parents[depth]


def _with_imports(first: Path, root: Path, package: str) -> list[Path]:
    """`first` and the files under `root` that it imports, and that those import, in a fixed order."""
    installed = root in {
        Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")
    }
    order, seen = [first], {first}
    for path in order:
        for parts in _imports(path, root):
            if installed and parts[:1] != (package,):
                continue
            place = root.joinpath(*parts)
            for found in (place.with_suffix(".py") if parts else place, place / "__init__.py"):
                if found not in seen and found.is_file() and len(order) < _MOST_FILES:
                    seen.add(found)
                    order.append(found)
    return order


def _imports(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """The modules that a file may import, as parts of their names below `root`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield from _prefixes(tuple(item.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                folder = path.parents[node.level - 1]
                if not folder.is_relative_to(root):
                    continue
                base = (*folder.relative_to(root).parts, *base)
            yield from _prefixes(base)
            yield from ((*base, item.name) for item in node.names)


def _prefixes(parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """A package is run before its modules."""
    for length in range(1, len(parts) + 1):
        yield parts[:length]
