"""GoogLeNet (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842) with batch norm and two 3x3 for each 5x5."""

from __future__ import annotations

import torch
from torch import nn

from robaudit.inputs.networks.frame import classifying

#: 1x1; 3x3's reduction and width; 5x5's reduction and width; width after the pooling. None pools.
_CELLS: dict[str, tuple[int, int, int, int, int, int] | None] = {
    "a3": (64, 96, 128, 16, 32, 32),
    "b3": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "a4": (192, 96, 208, 16, 48, 64),
    "b4": (160, 112, 224, 24, 64, 64),
    "c4": (128, 128, 256, 24, 64, 64),
    "d4": (112, 144, 288, 32, 64, 64),
    "e4": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "a5": (256, 160, 320, 32, 128, 128),
    "b5": (384, 192, 384, 48, 128, 128),
}


def _units(ins: int, *convs: tuple[int, int]) -> list[nn.Module]:
    """Convolution, norm, ReLU for each (width, kernel)."""
    modules: list[nn.Module] = []
    for outs, kernel in convs:
        modules += [nn.Conv2d(ins, outs, kernel, padding=kernel // 2), nn.BatchNorm2d(outs), nn.ReLU()]
        ins = outs
    return modules


class InceptionCell(nn.Module):
    """Four branches over one input, joined by channels (Fig. 2b)."""

    def __init__(self, ins: int, sizes: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, three_in, three, five_in, five, pooled = sizes
        self.b1 = nn.Sequential(*_units(ins, (one, 1)))
        self.b2 = nn.Sequential(*_units(ins, (three_in, 1), (three, 3)))
        self.b3 = nn.Sequential(*_units(ins, (five_in, 1), (five, 3), (five, 3)))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), *_units(ins, (pooled, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, one + three + five + pooled, H, W)."""
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


def googlenet(classes: int, in_channels: int) -> nn.Module:
    """The whole network."""
    channels = 192
    body: dict[str, nn.Module] = {"pre_layers": nn.Sequential(*_units(in_channels, (channels, 3)))}
    for name, sizes in _CELLS.items():
        if sizes is None:
            body[name] = nn.MaxPool2d(3, 2, 1)
            continue
        body[name] = InceptionCell(channels, sizes)
        channels = sizes[0] + sizes[2] + sizes[4] + sizes[5]
    return classifying(body, channels, classes)
