"""RegNet (Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678) with strides for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.efficient import Squeeze
from robaudit.inputs.networks.frame import framed

#: Blocks and widths of the stages, width of a group, and whether there is squeeze and excitation.
_SIZES = {
    "x-200mf": ((1, 1, 4, 7), (24, 56, 152, 368), 8, False),
    "x-400mf": ((1, 2, 7, 12), (32, 64, 160, 384), 16, False),
    "y-400mf": ((1, 2, 7, 12), (32, 64, 160, 384), 16, True),
}
_STRIDES = (1, 1, 2, 2)


class GroupBlock(nn.Module):
    """1x1, grouped 3x3, 1x1, with a shortcut (Sec. 3.2)."""

    def __init__(self, ins: int, outs: int, stride: int, group: int, squeeze: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2 = nn.Conv2d(outs, outs, 3, stride, 1, groups=outs // group, bias=False)
        self.bn2 = nn.BatchNorm2d(outs)
        self.se = Squeeze(outs, round(ins / 4), nn.ReLU) if squeeze else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(outs, outs, 1, bias=False), nn.BatchNorm2d(outs)
        needed = stride != 1 or ins != outs
        short = [nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs)] if needed else []
        self.shortcut = nn.Sequential(*short)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(self.se(y))) + self.shortcut(x))


def regnet(size: str, classes: int, in_channels: int) -> nn.Module:
    """RegNetX-200MF, X-400MF or Y-400MF.

    Args:
        size: `x-200mf`, `x-400mf` or `y-400mf`.
        classes: outputs.
        in_channels: of the images.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    depths, widths, group, squeeze = _SIZES[size]
    body: dict[str, nn.Module] = {}
    channels = stem = 64
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = []
        for i in range(depth):
            blocks.append(GroupBlock(channels, width, 1 if i else _STRIDES[stage], group, squeeze))
            channels = width
        body[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    return framed(body, in_channels, stem, channels, classes)
