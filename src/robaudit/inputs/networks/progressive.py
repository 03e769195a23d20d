"""Small networks of cells after PNASNet (Liu et al. 2018, https://arxiv.org/abs/1712.00559)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import classifying, conv_norm, stages, stem


class Separable(nn.Module):
    """One grouped convolution, a group a channel, with norm."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(ins, outs, kernel, stride, groups=ins)

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
            self.conv1, self.bn1 = conv_norm(ins, outs)

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
        self.conv2, self.bn2 = conv_norm(2 * outs, outs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        left = F.relu(self.sep_conv1(x) + self.sep_conv2(x))
        right = F.relu(self.pooled(x) + self.sep_conv3(x))
        return F.relu(self.bn2(self.conv2(torch.cat([left, right], 1))))


def progressive_net(kind: str, classes: int, in_channels: int) -> nn.Module:
    """Three stages of six cells of `kind` (`a` or `b`), with a cell of stride 2 between them."""
    cell, width = (CellA, 44) if kind == "a" else (CellB, 32)
    widths, depths = [width << i for i in (0, 1, 1, 2, 2)], (6, 1, 6, 1, 6)
    made: list[nn.Module] = [*stages(cell, width, widths, depths, (1, 2, 1, 2, 1))]
    made[1], made[3] = made[1][0], made[3][0]  # type: ignore[index]
    body = stem(in_channels, width) | {f"layer{i}": stage for i, stage in enumerate(made, start=1)}
    return classifying(body, 4 * width, classes)
