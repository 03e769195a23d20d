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
    return network.float().eval().requires_grad_(False)


def fits(own: list[Layer], theirs: list[Layer]) -> bool:
    """Whether layers agree one by one; a bias may be on one side only (`fill` sees to it)."""
    return [(layer.kind, layer.shape) for layer in own] == [(layer.kind, layer.shape) for layer in theirs]


def fill(network: nn.Module, layers: list[Layer], spec: str) -> None:
    """Copy the layers' tensors into the network's own layers, one after the other.

    A convolution's or linear layer's bias is added or removed as the file has it; a normalisation
    without learned scale keeps ones and zeros.

    Raises:
        RobauditError: number, kind or shape of the layers differ.

    """
    own = module_layers(network)
    if not fits(own, layers):
        raise RobauditError(f"{spec}: the file's tensors do not fit this architecture; pass another --arch")
    for mine, theirs in zip(own, layers, strict=True):
        module = network.get_submodule(mine.name)
        if mine.kind in ("conv", "linear"):
            bias = theirs.tensors.get("bias")
            if bias is not None and bias.shape != mine.shape[:1]:
                raise RobauditError(
                    f"{spec}: bias of {theirs.name} has shape {tuple(bias.shape)}; pass another --arch"
                )
            module.register_parameter(
                "bias", None if bias is None else nn.Parameter(bias.detach().clone().float())
            )
        with torch.no_grad():
            for role, tensor in theirs.tensors.items():
                target = getattr(module, role, None)
                if target is None or target.shape != tensor.shape:
                    raise RobauditError(f"{spec}: {theirs.name}.{role} does not fit; pass another --arch")
                target.copy_(tensor)
