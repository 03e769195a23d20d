"""TorchScript files: checked, then loaded by torch (which deprecates the format but still reads it)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.archives import open_archive, read_record
from robaudit.inputs.pickle_names import UnsafePickle
from robaudit.inputs.pickles import PICKLE, scan

#: Operators that reach files; a classifier's code has none of them.
REACHING = re.compile(r"\b(?:torch|ops\.aten)\.(from_file|save|load|_save|_load|package|jit|classes)\b")
SPACES = re.compile(r"\bops\.(\w+)\.")
CLASSES = re.compile(r"__torch__\.torch\.classes\.(\w+)")
KNOWN_SPACES = {"prim", "aten", "torchvision", "quantized"}


def read_torchscript(path: Path) -> torch.nn.Module:
    """The network of a TorchScript file.

    Raises:
        RobauditError: damaged, or its code uses custom operators, custom classes or files.

    """
    with open_archive(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                _check_code(path, read_record(archive, name, PICKLE).decode("utf-8", "replace"))
            elif name.endswith(".pkl"):
                try:
                    scan(read_record(archive, name, PICKLE))
                except UnsafePickle as error:
                    raise RobauditError(f"{path}: {error}; download it again") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: torch.nn.Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise RobauditError(
            f"{path}: TorchScript that this torch cannot load ({type(error).__name__}); export it again"
        ) from error
    if not hasattr(network, "forward"):
        raise RobauditError(f"{path}: TorchScript without a forward function; export the whole model")
    return network.eval()


def _check_code(path: Path, code: str) -> None:
    found = REACHING.search(code)
    if found:
        raise RobauditError(f"{path}: its code calls {found[0]}, which no classifier needs; do not trust it")
    spaces = set(SPACES.findall(code)) - KNOWN_SPACES
    classes = set(CLASSES.findall(code)) - {"quantized"}
    if spaces or classes:
        raise RobauditError(
            f"{path}: needs custom operators ({', '.join(sorted(spaces | classes))}); export it without"
        )
