"""TorchScript files: checked, then read as data. Torch's interpreter has the files whose code is not understood."""

from __future__ import annotations

import re
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import Archive, open_archive
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.pickles import PICKLE, UnsafePickle, scan
from robaudit.inputs.programs.network import Program
from robaudit.inputs.programs.torchscript.archive import Instance, Script, UnreadError, read_script
from robaudit.inputs.programs.torchscript.evaluation import Evaluator

#: Operators that reach files; a classifier's code has none of them.
REACHING = re.compile(r"\b(?:torch|ops\.aten)\.(from_file|save|load|_save|_load|package|jit|classes)\b")
SPACES = re.compile(r"(?<![\w.])ops\.(\w+)\.")
CLASSES = re.compile(r"__torch__\.torch\.classes\.(\w+)")
KNOWN_SPACES = {"prim", "aten", "torchvision", "quantized"}


def read_torchscript(copy: FileCopy) -> Program | nn.Module:
    """The program of a TorchScript file, or what torch makes of it.

    Raises:
        RobauditError: damaged, or its code uses custom operators, custom classes or files, or runs while it is loaded.

    """
    interpreted, archive = partial(_interpreted, copy), open_archive(copy)
    _check(archive)
    try:
        script = read_script(archive)
    except UnreadError:
        return interpreted()
    return Program(
        lambda x: Evaluator(script).forward(x),
        _tensors(script),
        otherwise=interpreted,  # without this line only what is read as data is taken
    )


def _tensors(script: Script) -> list[torch.Tensor]:
    """The model's learned tensors, each once."""
    found: dict[int, torch.Tensor] = {}
    waiting = [script.root]
    seen = set()
    while waiting:
        instance = waiting.pop(0)
        if id(instance) in seen:
            continue
        seen.add(id(instance))
        kind = script.classes.get(instance.kind)
        inside = [value for value in instance.attributes.values() if isinstance(value, Instance)]
        waiting = inside + waiting
        for name, value in instance.attributes.items():
            if kind and name in kind.learned and isinstance(value, torch.Tensor):
                found[id(value)] = value
    return list(found.values())


def _check(archive: Archive) -> None:
    path = archive.path
    for name in archive.names:
        if name.endswith(".py"):
            _check_code(path, str(archive.read(name, PICKLE), "utf-8", "replace"))
        elif name.endswith(".pkl"):
            try:
                scan(archive.read(name, PICKLE))
            except UnsafePickle as error:
                raise RobauditError(f"{path}: {error}; download it again") from error


def _check_code(path: Path, code: str) -> None:
    found = REACHING.search(code)
    if found:
        raise RobauditError(f"{path}: its code calls {found[0]}, which no classifier needs; do not trust it")
    if "__setstate__" in code:
        raise RobauditError(
            f"{path}: has code that runs while it is loaded (__setstate__); export it without"
        )
    spaces = set(SPACES.findall(code)) - KNOWN_SPACES
    classes = set(CLASSES.findall(code)) - {"quantized"}
    if spaces or classes:
        raise RobauditError(
            f"{path}: needs custom operators ({', '.join(sorted(spaces | classes))}); export it without"
        )


def _interpreted(copy: FileCopy) -> nn.Module:
    path = copy.path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = torch.jit.load(copy.stream(), map_location="cpu")
    except Exception as error:
        raise RobauditError(
            f"{path}: TorchScript that this torch cannot load ({type(error).__name__}); export it again"
        ) from error
    if not hasattr(network, "forward"):
        raise RobauditError(f"{path}: TorchScript without a forward function; export the whole model")
    return network.eval()
