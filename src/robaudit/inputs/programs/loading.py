"""Files that are networks already: ONNX, TorchScript and `.pt2`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.programs.exported import read_exported
from robaudit.inputs.programs.network import (
    Program,
    Shape,
    UnshapedNetwork,
    build_network,
    example_image,
)
from robaudit.inputs.programs.onnx import read_onnx
from robaudit.inputs.programs.torchscript import read_torchscript

READERS: dict[str, Callable[[FileCopy], Program | nn.Module]] = {
    "onnx": read_onnx,
    "torchscript": read_torchscript,
    "pt2": read_exported,
}


def load_program(copy: FileCopy, kind: str, shape: Shape | None) -> tuple[nn.Module, Shape | None, int]:
    """A program's network, the (C, H, W) it takes (the images' where it does not say) and its classes.

    Args:
        copy: the file.
        kind: `onnx`, `torchscript` or `pt2`.
        shape: (C, H, W) of the images, None where there are none.

    Raises:
        RobauditError: it cannot be loaded safely, or takes other images.

    """
    program, path = READERS[kind](copy), copy.path
    declared = program.image_shape if isinstance(program, Program) else None
    if shape and declared and tuple(shape) != declared:
        raise RobauditError(
            f"{path}: takes images of {_text(declared)}, the data set has {_text(shape)}; pass its own --dataset"
        )
    shape = shape or declared
    if shape is None:
        return UnshapedNetwork(program) if isinstance(program, Program) else program, None, 0
    network = program if isinstance(program, nn.Module) else _built(program, shape, str(path))
    return network, shape, count_classes(network, example_image(shape), str(path))


def _built(program: Program, shape: Shape, name: str) -> nn.Module:
    try:
        return build_network(program, shape)
    except Exception as error:
        raise _does_not_run(error, shape, name) from error


def count_classes(network: nn.Module, example: torch.Tensor, name: str) -> int:
    """Outputs for one image.

    Raises:
        RobauditError: it does not run, or gives anything but (1, K) with K >= 2.

    """
    try:
        with torch.no_grad():
            logits = network.eval()(example)
    except Exception as error:
        raise _does_not_run(error, tuple(example.shape[1:]), name) from error
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 2
        or logits.shape[0] != 1
        or logits.shape[1] < 2
    ):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RobauditError(f"{name}: gives {got} for one image; expected (1, classes)")
    return int(logits.shape[1])


def _does_not_run(error: Exception, shape: tuple[int, ...], name: str) -> RobauditError:
    if isinstance(error, RobauditError):
        return RobauditError(f"{name}: {error}")
    reason = str(error).strip().splitlines()[-1][:120] if str(error).strip() else type(error).__name__
    return RobauditError(
        f"{name}: does not run on images of {_text(shape)} ({reason}); pass its own --dataset"
    )


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
