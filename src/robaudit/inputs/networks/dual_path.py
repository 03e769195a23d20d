"""Dual path networks (Chen et al. 2017, https://arxiv.org/abs/1707.01629) for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import classifying, conv_norm, projection, stem

#: Of each stage: width inside, of the residual path, and what each block adds to the dense path (Table 1).
_STAGES = ((96, 256, 16), (192, 512, 32), (384, 1024, 24), (768, 2048, 128))


class DualBlock(nn.Module):
    """1x1, grouped 3x3, 1x1; the first channels are added to the input's, the others stand beside them."""

    def __init__(self, ins: int, sizes: tuple[int, int, int], stride: int, first: bool) -> None:
        super().__init__()
        inner, self.width, growth = sizes
        outs = self.width + growth
        self.conv1, self.bn1 = conv_norm(ins, inner)
        self.conv2, self.bn2 = conv_norm(inner, inner, 3, stride, groups=32)
        self.conv3, self.bn3 = conv_norm(inner, outs)
        self.shortcut = projection(ins, outs, stride, first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, width + growth + the input's dense channels, H / stride, W / stride)."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y, x, d = self.bn3(self.conv3(y)), self.shortcut(x), self.width
        return F.relu(torch.cat([x[:, :d] + y[:, :d], x[:, d:], y[:, d:]], 1))


def dual_path_net(depths: tuple[int, ...], classes: int, in_channels: int) -> nn.Module:
    """DPN-26 with two blocks in each of the four stages, DPN-92 with 3, 4, 20 and 3."""
    channels = 64
    body = stem(in_channels, channels)
    for stage, (sizes, depth) in enumerate(zip(_STAGES, depths, strict=True)):
        blocks = []
        for i in range(depth):
            blocks.append(DualBlock(channels, sizes, 2 if stage and not i else 1, i == 0))
            channels = sizes[1] + (i + 2) * sizes[2]
        body[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    return classifying(body, channels, classes)
