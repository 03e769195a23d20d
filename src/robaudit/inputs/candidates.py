"""A guess at a file's architecture, and how its tensors get into a network."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.architectures import build_architecture
from robaudit.inputs.layers import Layer, module_layers


@dataclass(frozen=True)
class Candidate:
    """One architecture that the shapes allow.

    Attributes:
        spec: text that `build_architecture` takes.
        layers: the file's layers, in the order of the network's own.
        in_channels: of the images it takes.
        image_size: their side.
        classes: outputs.
        cost: how unusual it is; the least is the likeliest before anything is tried.

    """

    spec: str
    layers: tuple[Layer, ...] = field(repr=False)
    in_channels: int
    image_size: int
    classes: int
    cost: float


def assemble(candidate: Candidate) -> nn.Module:
    """The candidate's network with the file's weights, in evaluation mode.

    Raises:
        RobauditError: the tensors do not fit the network.

    """
    network = build_architecture(
        candidate.spec,
        classes=candidate.classes,
        in_channels=candidate.in_channels,
        image_size=candidate.image_size,
    )
    fill(network, list(candidate.layers), candidate.spec)
    return network.eval().requires_grad_(False)


def fill(network: nn.Module, layers: list[Layer], spec: str) -> None:
    """Copy the layers' tensors into the network's own layers, one after the other.

    Raises:
        RobauditError: number, kind or shape of the layers differ.

    """
    own = module_layers(network)
    if [layer.signature for layer in own] != [layer.signature for layer in layers]:
        raise RobauditError(f"{spec}: the file's tensors do not fit this architecture; pass another --arch")
    with torch.no_grad():
        for mine, theirs in zip(own, layers, strict=True):
            for role, tensor in mine.tensors.items():
                tensor.copy_(theirs.tensors[role])
