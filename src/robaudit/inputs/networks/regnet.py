"""RegNet (Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678) with strides for small images."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.efficient import Squeeze
from robaudit.inputs.networks.frame import classifying, conv_norm, projection, stages, stem

#: Blocks and widths of the stages, width of a group, and whether there is squeeze and excitation.
_SIZES = {
    "x-200mf": ((1, 1, 4, 7), (24, 56, 152, 368), 8, False),
    "x-400mf": ((1, 2, 7, 12), (32, 64, 160, 384), 16, False),
    "y-400mf": ((1, 2, 7, 12), (32, 64, 160, 384), 16, True),
}


class GroupBlock(nn.Module):
    """1x1, grouped 3x3, 1x1, with a shortcut (Sec. 3.2)."""

    def __init__(self, ins: int, outs: int, stride: int, group: int, squeeze: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(ins, outs)
        self.conv2, self.bn2 = conv_norm(outs, outs, 3, stride, groups=outs // group)
        self.se = Squeeze(outs, round(ins / 4), nn.ReLU) if squeeze else nn.Identity()
        self.conv3, self.bn3 = conv_norm(outs, outs)
        self.shortcut = projection(ins, outs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(self.se(y))) + self.shortcut(x))


def regnet(size: str, classes: int, in_channels: int) -> nn.Module:
    """RegNetX-200MF, X-400MF or Y-400MF, by a key of `_SIZES`."""
    depths, widths, group, squeeze = _SIZES[size]
    body, channels = stem(in_channels, 64), 64
    made = stages(partial(GroupBlock, group=group, squeeze=squeeze), channels, widths, depths, (1, 1, 2, 2))
    body |= {f"layer{i}": stage for i, stage in enumerate(made, start=1)}
    return classifying(body, widths[-1], classes)
