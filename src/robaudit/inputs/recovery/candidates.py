"""A guess at a file's architecture, and how its tensors get into a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.networks.families import build, text_of
from robaudit.inputs.networks.family import Plan
from robaudit.inputs.networks.noise import add_noise
from robaudit.inputs.programs.outputs import two_logits
from robaudit.inputs.recovery.layers import Layer, module_layers


@dataclass(frozen=True, eq=False)
class Candidate:
    """One architecture that the shapes allow.

    Attributes:
        plan: its plan, or a text where there is none to vary (published networks, programs, factories).
        layers: the file's layers, in the order of the network's own.
        in_channels: of the images it takes.
        image_size: their side.
        classes: outputs.
        price: how unusual it is; the least is the likeliest before anything is tried (`networks.family`).
        network: the network itself where it needs no building: a program, a user's factory.
        exact: a published network's, by the names of the file's tensors and not by their shapes only.

    """

    plan: Plan
    layers: tuple[Layer, ...] = field(repr=False)
    in_channels: int
    image_size: int
    classes: int
    price: float
    network: nn.Module | None = field(default=None, repr=False)
    exact: bool = False

    @cached_property
    def text(self) -> str:
        """What `build_architecture` takes to make the same."""
        return text_of(self.plan)

    def with_plan(self, plan: Plan, price: float) -> Candidate:
        """The same layers in a network of another plan."""
        return replace(self, plan=plan, price=self.price + price)


def assemble(candidate: Candidate) -> nn.Module:
    """The candidate's network with the file's weights (shared, not copied), in evaluation mode.

    Raises:
        RobauditError: the tensors do not fit the network.

    """
    if candidate.network is not None:
        for parameter in candidate.network.parameters():
            parameter.requires_grad_(False)
        return candidate.network.eval()
    with torch.device("meta"):
        network = build(
            candidate.plan,
            classes=candidate.classes,
            in_channels=candidate.in_channels,
            image_size=candidate.image_size,
        )
    fill(network, list(candidate.layers), candidate.text)
    network = TwoLogits(network) if candidate.classes == 1 else network
    return network.eval().requires_grad_(False)


class TwoLogits(nn.Module):
    """A network of one output z as one of two classes, with the logits (0, z)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, 2)."""
        logits: torch.Tensor = two_logits(self.network(x))
        return logits


def fits(own: list[Layer], theirs: list[Layer]) -> bool:
    """Whether layers agree one by one; a bias may be on one side only (`fill` sees to it)."""
    return [(layer.kind, layer.shape) for layer in own] == [(layer.kind, layer.shape) for layer in theirs]


def fill(network: nn.Module, layers: list[Layer], spec: str) -> None:
    """Put the layers' tensors into the network's own layers, one after the other, as float32.

    A convolution's or linear layer's bias is added or removed as the file has it; a normalisation
    without learned scale keeps ones and zeros; a layer with deviations becomes noisy. The network may be on the meta
    device.

    Raises:
        RobauditError: number, kind or shape of the layers differ.

    """
    own = module_layers(network)
    if not fits(own, layers):
        raise RobauditError(f"{spec}: the file's tensors do not fit this architecture; pass another --arch")
    for mine, theirs in zip(own, layers, strict=True):
        module = network.get_submodule(mine.name)
        if mine.kind in ("conv", "linear"):
            module.register_parameter("bias", None)
        deviations = {role: tensor for role, tensor in theirs.tensors.items() if role.endswith("_std")}
        for role, tensor in theirs.tensors.items():
            if role in deviations:
                continue
            expected = mine.shape[:1] if role != "weight" else mine.shape
            known = role in module._parameters or role in module._buffers
            if not known or tuple(tensor.shape) != expected:
                raise RobauditError(f"{spec}: {theirs.name}.{role} does not fit; pass another --arch")
            value = tensor.detach().float()
            if role in module._buffers:
                module._buffers[role] = value
            else:
                module._parameters[role] = nn.Parameter(value, requires_grad=False)
        if deviations:
            try:
                add_noise(module, deviations.get("weight_std"), deviations.get("bias_std"))
            except ValueError as error:
                raise RobauditError(f"{spec}: {theirs.name}: {error}; pass another --arch") from error
    _materialise(network)


def _materialise(network: nn.Module) -> None:
    """Give what the file did not set (no learned scale, counters) its neutral value."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.is_meta:
                neutral = torch.ones if name == "weight" else torch.zeros
                module._parameters[name] = nn.Parameter(neutral(parameter.shape), requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:
                neutral = torch.ones if name == "running_var" else torch.zeros
                module._buffers[name] = neutral(buffer.shape, dtype=buffer.dtype)
