"""Networks that are code, made to answer with logits: ONNX, TorchScript and `.pt2` files, a user's own modules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robaudit.devices import NO_ROOM, out_of_memory
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
from robaudit.inputs.programs.outputs import Answer, OneAnswer
from robaudit.inputs.programs.torchscript import read_torchscript

#: How torch says that numbers of two types met.
_MIXED = re.compile(r"c10::(Half|BFloat16)|\b(Half|BFloat16|Double)\b|same dtype")


@dataclass(frozen=True)
class Loaded:
    """A network that answers with logits (N, K).

    Attributes:
        network: from images (N, C, H, W), already normalised.
        shape: (C, H, W) of the images where it is known.
        classes: K; 0 where the shape is not known.
        notes: sentences for the report.

    """

    network: nn.Module
    shape: Shape | None
    classes: int = 0
    notes: tuple[str, ...] = ()


def load_program(
    copy: FileCopy, kind: str, shape: Shape | None, *, classes: int = 0, trusted: bool = False
) -> Loaded:
    """A file's network.

    Args:
        copy: the file.
        kind: `onnx`, `torchscript` or `pt2`.
        shape: (C, H, W) of the images, None where there are none.
        classes: of the images, by which the logits are told from other outputs; 0 where there are none.
        trusted: whether the user said that TorchScript's own code may run where it is not read as data.

    Raises:
        RobauditError: it cannot be loaded safely, or takes other images.

    """
    readers: dict[str, Callable[[FileCopy], Program | nn.Module]] = {
        "onnx": read_onnx,
        "torchscript": partial(read_torchscript, trusted=trusted),
        "pt2": read_exported,
    }
    program, path = readers[kind](copy), copy.path
    declared = program.image_shape if isinstance(program, Program) else None
    if shape and declared and tuple(shape) != declared:
        raise RobauditError(
            f"{path}: takes images of {_text(declared)}, the data set has {_text(shape)}; pass its own --dataset"
        )
    shape = shape or declared
    if shape is None:
        return Loaded(UnshapedNetwork(program) if isinstance(program, Program) else program, None)
    answer = Answer(classes)
    try:
        network = program if isinstance(program, nn.Module) else build_network(program, shape, answer)
    except Exception as error:
        raise _does_not_run(error, shape, str(path)) from error
    notes = answer.notes
    if isinstance(network, torch.jit.ScriptModule):
        notes = ("its own code is run by torch, as --trust-program says",)
    found = with_logits(network, example_image(shape), str(path), classes)
    return Loaded(found.network, shape, found.classes, notes + found.notes)


def with_logits(network: nn.Module, example: Tensor, name: str, classes: int = 0) -> Loaded:
    """A module that answers with logits (N, K): itself, or one that takes them out of its answer.

    Args:
        network: from images to logits, or to several tensors one of which they are.
        example: images (N, C, H, W).
        name: for messages.
        classes: as `load_program`.

    Raises:
        RobauditError: it does not run, or gives nothing of the kind.

    """
    answer = Answer(classes)
    example = example.clone()
    before = example._version
    try:
        with torch.no_grad():
            given = network.eval()(example)
            logits = answer.logits(given, len(example))
    except Exception as error:
        raise _does_not_run(error, tuple(example.shape[1:]), name) from error
    _, channels, height, width = example.shape
    shape, columns = (channels, height, width), int(logits.shape[1])
    if example._version != before:
        network = OnACopy(network)
    if logits is given and logits.dtype == torch.float32:
        return Loaded(network, shape, columns)
    found = OneAnswer(network, answer)
    return Loaded(found, shape, columns, found.notes)


class OnACopy(nn.Module):
    """A module that writes into its input, as one that leaves it as it was.

    No gradient goes through what is overwritten.
    """

    answers_with = "network"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """As the network."""
        answer: Tensor = self.network(x.clone())
        return answer


def _does_not_run(error: Exception, shape: tuple[int, ...], name: str) -> RobauditError:
    if out_of_memory(error):
        return RobauditError(f"{name}: {NO_ROOM.removeprefix('model: ')}")
    if isinstance(error, RobauditError):
        text = str(error)
        return RobauditError(text if text.startswith(name) else f"{name}: {text}")
    if _MIXED.search(str(error)):
        return RobauditError(
            f"{name}: mixes float32 images with numbers of another precision; let it compute in float32, as is audited"
        )
    if isinstance(error, TypeError) and "missing" in str(error):
        return RobauditError(f"{name}: takes more than images ({error}); let it take images alone")
    reason = str(error).strip().splitlines()[-1][:120] if str(error).strip() else type(error).__name__
    return RobauditError(
        f"{name}: does not run on images of {_text(shape)} ({reason}); pass its own --dataset"
    )


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
