"""Folders as Hugging Face's `save_pretrained` writes them: the tensors, perhaps in parts, and what they are in JSON.

Nothing in the JSON chooses a file: parts are told by their names.
"""

from __future__ import annotations

import re
from pathlib import Path

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy, exists, read_copy

#: What the tensors are called, the safest first.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: What lies beside them.
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
#: The names of parts of one checkpoint: what they begin with, which one it is, of how many, the ending.
PART = re.compile(r"(.*)-0*([1-9]\d{0,4})-of-0*([2-9]|[1-9]\d{1,4})\.(safetensors|bin|pt|pth)$")
#: Bytes of such JSON: thousands of classes have names.
LARGEST = 8 << 20


def read_model(path: Path) -> FileCopy:
    """A copy of a checkpoint's file, or of a folder's, with what lies beside it.

    Raises:
        RobauditError: there is none, or only a part of it.

    """
    if path.is_dir():
        return _folder(path)
    if match := PART.fullmatch(path.name):
        raise RobauditError(
            f"{path}: is one of {match[3]} parts of a network; pass the folder that holds them all"
        )
    copy = read_copy(path)
    if path.name in WEIGHTS:
        copy.beside = _beside(path.parent)
    return copy


def read_beside(path: Path) -> FileCopy:
    """What lies beside a checkpoint's tensors, or in its folder, without them.

    Raises:
        RobauditError: it cannot be read.

    """
    folder = path if path.is_dir() else path.parent if path.name in WEIGHTS else None
    return FileCopy(path, b"", (), _beside(folder) if folder else {})


def _folder(path: Path) -> FileCopy:
    weights = next((path / name for name in WEIGHTS if exists(path / name)), None)
    if weights is not None:
        copy = read_copy(weights)
        copy.beside = _beside(path)
        return copy
    try:
        found = [match for each in sorted(path.iterdir()) if (match := PART.fullmatch(each.name))]
    except OSError as error:
        raise RobauditError(
            f"{path}: {(error.strerror or 'cannot be read').lower()}; pass a checkpoint"
        ) from error
    if not found:
        return read_copy(path)  # which says that it is a folder
    kinds = sorted({(match[4] != "safetensors", match[1], int(match[3]), match[4]) for match in found})
    if len({kind[0] for kind in kinds}) < len(kinds):
        raise RobauditError(f"{path}: holds parts of several networks; keep those of one in it")
    _, start, count, ending = kinds[0]
    parts = {
        int(match[2]): match[0]
        for match in found
        if (match[1], int(match[3]), match[4]) == (start, count, ending)
    }
    if missing := [number for number in range(1, count + 1) if number not in parts]:
        raise RobauditError(f"{path}: lacks part {missing[0]} of {count} of the network; download it again")
    copies = tuple(read_copy(path / parts[number]) for number in sorted(parts))
    return FileCopy(path, b"", copies, _beside(path))


def _beside(folder: Path) -> dict[str, bytes]:
    """The JSON that says what the tensors are; nothing where there is no `config.json`."""
    if not exists(folder / CONFIG):
        return {}
    names = [name for name in (CONFIG, PREPROCESSOR) if exists(folder / name)]
    return {name: bytes(read_copy(folder / name, LARGEST, "a JSON file").data) for name in names}
