"""Small networks of cells after PNASNet (Liu et al. 2018, https://arxiv.org/abs/1712.00559)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import framed


class Separable(nn.Module):
    """One grouped convolution, a group a channel, with norm."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False, groups=ins)
        self.bn1 = nn.BatchNorm2d(outs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        return self.bn1(self.conv1(x))


class CellA(nn.Module):
    """A 7x7 convolution beside a pooling."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.sep_conv1, self.pool = Separable(ins, outs, 7, stride), nn.MaxPool2d(3, stride, 1)
        self.smaller = stride == 2
        if self.smaller:
            self.conv1, self.bn1 = nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """The branch that pools."""
        y = self.pool(x)
        return self.bn1(self.conv1(y)) if self.smaller else y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        return F.relu(self.sep_conv1(x) + self.pooled(x))


class CellB(CellA):
    """7x7 beside 3x3, pooling beside 5x5, joined by a 1x1 convolution."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__(ins, outs, stride)
        self.sep_conv2, self.sep_conv3 = Separable(ins, outs, 3, stride), Separable(ins, outs, 5, stride)
        self.conv2, self.bn2 = nn.Conv2d(2 * outs, outs, 1, bias=False), nn.BatchNorm2d(outs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        left = F.relu(self.sep_conv1(x) + self.sep_conv2(x))
        right = F.relu(self.pooled(x) + self.sep_conv3(x))
        return F.relu(self.bn2(self.conv2(torch.cat([left, right], 1))))


def progressive_net(kind: str, classes: int, in_channels: int) -> nn.Module:
    """Three stages of six cells, with a cell of stride 2 between them.

    Args:
        kind: `a` (44 channels) or `b` (32), by its cell.
        classes: outputs.
        in_channels: of the images.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    cell, width = (CellA, 44) if kind == "a" else (CellB, 32)
    body: dict[str, nn.Module] = {}
    for stage in range(3):
        channels = width << stage
        if stage:
            body[f"layer{2 * stage}"] = cell(channels // 2, channels, 2)
        cells = [cell(channels, channels, 1) for _ in range(6)]
        body[f"layer{2 * stage + 1}"] = nn.Sequential(*cells)
    return framed(body, in_channels, width, 4 * width, classes)
