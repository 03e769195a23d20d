"""EfficientNet-B0 (Tan & Le 2019, https://arxiv.org/abs/1905.11946) with strides for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import classifying, conv_norm, stem

#: Expansion, width, blocks, kernel, stride of each stage (Table 1).
_STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)


class Squeeze(nn.Module):
    """Channels weighed by their means (Hu et al. 2018, https://arxiv.org/abs/1709.01507)."""

    def __init__(self, channels: int, inner: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.se1, self.se2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape."""
        weights = self.se2(self.act(self.se1(F.adaptive_avg_pool2d(x, 1))))
        return x * weights.sigmoid()


class MobileBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; residual where shapes allow.

    The published block has an expansion's weights even where it does not expand; they are not used then.
    """

    def __init__(self, ins: int, outs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = expansion * ins
        self.expands, self.residual = expansion > 1, stride == 1 and ins == outs
        self.conv1, self.bn1 = conv_norm(ins, inner)
        self.conv2, self.bn2 = conv_norm(inner, inner, kernel, stride, groups=inner)
        self.se = Squeeze(inner, ins // 4, nn.SiLU)
        self.conv3, self.bn3 = conv_norm(inner, outs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y = F.silu(self.bn1(self.conv1(x))) if self.expands else x
        y = self.bn3(self.conv3(self.se(F.silu(self.bn2(self.conv2(y))))))
        return y + x if self.residual else y


def efficient_net(classes: int, in_channels: int) -> nn.Module:
    """The whole network, whose head follows the last block at once."""
    blocks: list[nn.Module] = []
    channels = 32
    body = stem(in_channels, channels, nn.SiLU)
    for expansion, width, depth, kernel, stride in _STAGES:
        for i in range(depth):
            blocks.append(MobileBlock(channels, width, expansion, kernel, 1 if i else stride))
            channels = width
    return classifying({**body, "layers": nn.Sequential(*blocks)}, channels, classes)
