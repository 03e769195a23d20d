"""TorchScript files, whose code is read as data; torch's interpreter has it only where the user trusts the file."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import open_archive
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.programs.network import Program
from robaudit.inputs.programs.torchscript.archive import Script, read_script
from robaudit.inputs.programs.torchscript.evaluation import Evaluator
from robaudit.inputs.programs.torchscript.objects import Instance, UnreadError

TRUST = "export it as ONNX, or pass --trust-program, which runs the file's own code with your rights"


def read_torchscript(copy: FileCopy, *, trusted: bool = False) -> Program | nn.Module:
    """The program of a TorchScript file, or what torch makes of one that is `trusted` and is not read as data.

    Raises:
        RobauditError: damaged, or it does what is not read as data and is not trusted.

    """
    otherwise = partial(_interpreted if trusted else _refused, copy)
    try:
        script = read_script(open_archive(copy))
    except UnreadError as error:
        return otherwise(error)
    except RobauditError as error:
        text = str(error)
        raise RobauditError(text if text.startswith(str(copy.path)) else f"{copy.path}: {text}") from error
    return Program(lambda x: Evaluator(script).forward(x), _tensors(script), otherwise=otherwise)


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


def _refused(copy: FileCopy, error: Exception) -> nn.Module:
    if isinstance(error, RobauditError):
        raise RobauditError(f"{copy.path}: {error}\n{TRUST}") from error
    raise error


def _interpreted(copy: FileCopy, _: Exception) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = torch.jit.load(copy.stream(), map_location="cpu")
    except Exception as error:
        raise RobauditError(
            f"{copy.path}: TorchScript that this torch cannot load ({type(error).__name__}); export it again"
        ) from error
    if not hasattr(network, "forward"):
        raise RobauditError(f"{copy.path}: TorchScript without a forward function; export the whole model")
    return network.eval()
