"""A folder with one folder of images a class, read in a child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from robaudit.errors import RobauditError
from robaudit.inputs.data.labels import MOST_CLASSES
from robaudit.inputs.data.pictures import ENDINGS, Crop, decode
from robaudit.inputs.data.user_files import LIMIT, found, to_pixels
from robaudit.inputs.files.copies import read_copy
from robaudit.sandbox import Parts

#: Says which class each folder is, where the order of the names does not.
CLASSES = "classes.json"
_BYTES = 64 << 20
#: Names of parts of a data set, which are not classes.
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"}
#: What unpacking leaves beside the classes.
_NO_CLASS = ("__MACOSX",)


def read_folder(path: Path, split: str, crop: Crop | None = None) -> Parts:
    """A folder of class folders, numbered in the order of their names or as `classes.json` in it says.

    A subfolder called as `split` is taken instead, where there is one.

    Raises:
        RobauditError: fewer than two class folders, or parts of a data set instead, or an unreadable image.

    """
    root = path / split if (path / split).is_dir() else path
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not _is_hidden(folder.name))
    if folders and all(folder.name.lower() in SPLITS for folder in folders):
        parts = ", ".join(folder.name for folder in folders)
        raise RobauditError(
            f"{root}: holds parts of a data set ({parts}), no classes; choose one with --split, for example "
            f"--split {folders[-1].name}"
        )
    files = {folder.name: _image_files(folder) for folder in folders}
    if sum(map(bool, files.values())) < 2:
        read = ", ".join(sorted(ending.removeprefix(".") for ending in ENDINGS))
        raise RobauditError(f"{root}: holds no two folders of images ({read}); expected one folder a class")
    where = root if (root / CLASSES).is_file() else path
    indices, names = _indices(where, list(files))
    listing = [(file, indices[name]) for name, images in files.items() for file in images]
    if len({label for _, label in listing}) < 2:
        raise RobauditError(f"{where / CLASSES}: makes one class of all folders with images; correct it")
    pixels = decode([file for file, _ in listing], LIMIT, crop=crop)
    empty = [name for name, images in files.items() if not images]
    if empty and not (where / CLASSES).is_file():
        raise RobauditError(
            f"{root}: the folder {empty[0]!r} holds no images; remove it, or say by a {CLASSES} which class each is"
        )
    pixels = pixels[:, None] if pixels.dtype == np.float32 else to_pixels(pixels, "images")
    return found(pixels, np.array([label for _, label in listing]), len(names), names)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_CLASS


def _image_files(folder: Path) -> list[Path]:
    """Images at any depth; no hidden ones, such as the `._x.png` that macOS writes beside each file."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in ENDINGS
        and not any(_is_hidden(part) for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def _indices(root: Path, folders: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The class of each folder, and the names of all classes."""
    path = root / CLASSES
    if not path.is_file():
        return {name: label for label, name in enumerate(folders)}, tuple(folders)
    indices = _read_classes(path)
    missing = [name for name in folders if name not in indices]
    if missing:
        raise RobauditError(f"{path}: does not say which class the folder {missing[0]!r} is; add it")
    names = {label: name for name, label in reversed(indices.items())}
    return indices, tuple(names.get(label, str(label)) for label in range(max(names) + 1))


def _read_classes(path: Path) -> dict[str, int]:
    """Class indices by name, of any of the forms in which they are usually kept.

    A list of names in the network's order; `{"cat": 3}`; `{"3": "cat"}`; `{"0": ["n01440764", "tench"]}`, where each
    name of a list is the class's; or a `label2id` or `id2label` of those within.
    """
    try:
        content: Any = json.loads(bytes(read_copy(path, _BYTES, "a list of classes").data))
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: is not JSON ({str(error)[:80]}); correct it") from error
    if isinstance(content, dict):
        content = next(
            (content[key] for key in ("label2id", "id2label") if isinstance(content.get(key), dict)), content
        )
    pairs: list[tuple[Any, Any]] = []
    if isinstance(content, list):
        pairs = [(name, label) for label, name in enumerate(content)]
    elif isinstance(content, dict) and all(isinstance(value, int) for value in content.values()):
        pairs = list(content.items())
    elif isinstance(content, dict) and all(key.isascii() and key.isdigit() for key in content):
        for key, value in content.items():
            pairs += [(name, int(key[:8])) for name in (value if isinstance(value, list) else [value])]
    indices = dict(pairs) if all(isinstance(name, str) for name, _ in pairs) else {}
    if not indices or not all(type(label) is int and 0 <= label < MOST_CLASSES for label in indices.values()):
        raise RobauditError(
            f'{path}: expected a list of class names in the network\'s order, or {{"FOLDER": INDEX, ...}}'
        )
    return indices
