"""Residual and dense networks as they are written for certified training: norms missing, strides at odd places.

After the published examples of auto_LiRPA (https://arxiv.org/abs/2002.12920), narrower.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.inputs.recovery.recovering import SHAPE, randomised, recovered


def head(features: int) -> nn.ModuleList:
    return nn.ModuleList([nn.Linear(features, 32), nn.Linear(32, 10)])


def answer(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    return layers[1](F.relu(layers[0](x.flatten(1))))


class Grouped(nn.Module):
    """A bottleneck with a norm behind its first convolution only."""

    def __init__(self, ins: int, mid: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, mid, 1), nn.BatchNorm2d(mid)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride, 1, groups=2)
        self.conv3 = nn.Conv2d(mid, 2 * mid, 1)
        self.shortcut = nn.Sequential(nn.Conv2d(ins, 2 * mid, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.conv3(y) + self.shortcut(x))


class ResNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.Sequential(Grouped(8, 8, 1), Grouped(16, 12, 2), Grouped(24, 16, 2))
        self.head = head(32 * 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return answer(self.head, self.layers(F.relu(self.conv1(x))))


class Late(nn.Module):
    """Activation first, a stride in the second convolution, one norm or none."""

    def __init__(self, ins: int, outs: int, stride: int, normed: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(ins) if normed else nn.Identity()
        self.conv1 = nn.Conv2d(ins, outs, 3, padding=1)
        self.conv2 = nn.Conv2d(outs, outs, 3, stride, 1)
        self.shortcut = nn.Sequential()
        if stride > 1 or ins != outs:
            self.shortcut = nn.Sequential(nn.Conv2d(ins, outs, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(F.relu(self.conv1(F.relu(self.bn1(x))))) + self.shortcut(x)


class Wide(nn.Module):
    def __init__(self, normed: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        shapes = [(8, 16, 1), (16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1)]
        self.layers = nn.Sequential(*(Late(*shape, normed) for shape in shapes))
        self.head = head(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return answer(self.head, F.avg_pool2d(F.relu(self.layers(self.conv1(x))), 8))


class Growing(nn.Module):
    def __init__(self, ins: int, normed: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(ins) if normed else nn.Identity()
        self.conv1 = nn.Conv2d(ins, 16, 1)
        self.bn2 = nn.BatchNorm2d(16) if normed else nn.Identity()
        self.conv2 = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))), x], 1)


class Narrowing(nn.Module):
    def __init__(self, ins: int, outs: int, normed: bool) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(ins) if normed else nn.Identity()
        self.conv = nn.Conv2d(ins, outs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class Dense(nn.Module):
    def __init__(self, normed: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.Sequential(
            Growing(8, normed), Growing(12, normed), Narrowing(16, 8, normed),
            Growing(8, normed), Growing(12, normed), Growing(16, normed), Narrowing(20, 10, normed),
            Growing(10, normed), Growing(14, normed),
        )  # fmt: skip
        self.bn = nn.BatchNorm2d(18) if normed else nn.Identity()
        self.head = head(18 * 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return answer(self.head, F.relu(self.bn(self.layers(self.conv1(x)))))


@pytest.mark.parametrize(
    ("make", "spec"),
    [
        (ResNeXt, "residual:"),
        (lambda: Wide(True), "residual:"),
        (lambda: Wide(False), "residual:"),
        (lambda: Dense(True), "densenet:"),
        (lambda: Dense(False), "densenet:"),
    ],
)
def test_networks_for_certified_training(make: Callable[[], nn.Module], spec: str) -> None:
    torch.manual_seed(0)
    network = randomised(make())
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert recovered(network.state_dict(), x, network(x), most=20).startswith(spec)
