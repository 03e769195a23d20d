"""Learned slopes: one that all layers share, one a block, one in all, and lone numbers that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robaudit.inputs import build_architecture
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.layers import State, read_layers
from robaudit.inputs.recovery.matching import candidates


class OneSlope(nn.Module):
    """A learned slope that every layer shares, defined last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 5), nn.Conv2d(8, 16, 5)
        self.fc1, self.fc2 = nn.Linear(256, 32), nn.Linear(32, 10)
        self.act = nn.PReLU(init=0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(self.act(self.conv1(x)), 2)
        y = F.max_pool2d(self.act(self.conv2(y)), 2)
        return self.fc2(self.act(self.fc1(y.flatten(1))))


@pytest.mark.parametrize("form", [dict, lambda state: dict(sorted(state.items()))])
def test_a_slope_that_all_layers_share(form: Callable[[State], State]) -> None:
    torch.manual_seed(0)
    network, x = OneSlope().eval(), torch.rand(2, 1, 28, 28)
    option = candidates(read_layers(form(network.state_dict())), (1, 28, 28))[0]
    assert torch.allclose(assemble(option)(x), network(x), atol=1e-5)


def test_slopes_of_a_residual_network_one_a_block_or_one_in_all() -> None:
    torch.manual_seed(0)
    network = build_architecture("resnet20:activation=prelu", classes=10).eval()
    blocks = [block for stage in (network.layer1, network.layer2, network.layer3) for block in stage]
    x = torch.rand(2, 3, 32, 32)
    for shared in (False, True):
        state = network.state_dict()
        for i, block in enumerate(blocks):
            one = network.act if shared else torch.nn.PReLU(init=0.1 + 0.05 * i)
            block.acts = nn.ModuleList([one, one])
            prefix = f"layer{1 + i // 3}.{i % 3}.acts."
            state = {key: tensor for key, tensor in state.items() if not key.startswith(prefix + "1")}
            state[prefix + "0.weight"] = one.weight
            if shared:
                del state[prefix + "0.weight"]
        option = candidates(read_layers(state), (3, 32, 32))[0]
        assert torch.allclose(assemble(option)(x), network(x), atol=1e-4)


def test_a_lone_number_may_be_a_temperature() -> None:
    torch.manual_seed(0)
    network, x = build_architecture("lenet5", classes=10).eval(), torch.rand(2, 3, 32, 32)
    state = {"temperature": torch.tensor([1.5]), **network.state_dict()}
    options = candidates(read_layers(state), (3, 32, 32))[:40]
    assert any(torch.allclose(assemble(option)(x), network(x), atol=1e-5) for option in options)


def test_slopes_that_fit_no_layer_are_no_plain_network() -> None:
    state = {**OneSlope().state_dict(), **{f"more{i}.weight": torch.rand(7) for i in range(3)}}
    assert candidates(read_layers(state), (1, 28, 28)) == []
