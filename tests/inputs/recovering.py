"""What tests of recovered networks share: making weights matter, and looking for equal outputs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.candidates import assemble
from robaudit.inputs.members import member_options, read_members
from tests.inputs.references import State

SHAPE = (3, 32, 32)


def randomised(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics and scales that an exchange of layers would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.eval()


def recovered(state: State, x: torch.Tensor, want: torch.Tensor, most: int = 12) -> str:
    """The first architecture among the likeliest whose outputs are `want`; empty where none is."""
    for option in member_options(read_members([state], Path("f")), None, SHAPE, Path("f"))[:most]:
        try:
            got = assemble(option)(x)
        except RobauditError:  # a guess that has no such layers
            continue
        if torch.allclose(got, want, atol=1e-4 * float(want.abs().max())):
            return option.spec
    return ""


def varied(network: nn.Module) -> nn.Module:
    """Weights and statistics that make every part of a network matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return network.eval()
