"""RepVGG (Ding et al. 2021, https://arxiv.org/abs/2101.03697) with strides for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

#: Widths of stem and four stages.
_WIDTHS = {"a0": (48, 48, 96, 192, 1280), "a1": (64, 64, 128, 256, 1280), "a2": (64, 96, 192, 384, 1408)}
_DEPTHS, _STRIDES = (1, 2, 4, 14, 1), (1, 1, 2, 2, 2)


def _normed(ins: int, outs: int, kernel: int, stride: int) -> nn.Sequential:
    branch = nn.Sequential()
    branch.add_module("conv", nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False))
    branch.add_module("bn", nn.BatchNorm2d(outs))
    return branch


class RepBlock(nn.Module):
    """Sum of a 3x3 branch, a 1x1 branch and, where shapes allow, the normalised input (Fig. 2b)."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.rbr_identity = nn.BatchNorm2d(ins) if ins == outs and stride == 1 else None
        self.rbr_dense, self.rbr_1x1 = _normed(ins, outs, 3, stride), _normed(ins, outs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        total = self.rbr_dense(x) + self.rbr_1x1(x)
        return F.relu(total if self.rbr_identity is None else total + self.rbr_identity(x))


class FusedBlock(nn.Module):
    """The branches joined into one convolution (Fig. 2c)."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(ins, outs, 3, stride, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        return F.relu(self.rbr_reparam(x))


def rep_vgg(size: str, fused: bool, classes: int, in_channels: int) -> nn.Module:
    """RepVGG-A0, A1 or A2.

    Args:
        size: `a0`, `a1` or `a2`.
        fused: with one convolution a block, as after training.
        classes: outputs.
        in_channels: of the images.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    block = FusedBlock if fused else RepBlock
    network, channels = nn.Sequential(), in_channels
    for stage, (width, depth) in enumerate(zip(_WIDTHS[size], _DEPTHS, strict=True)):
        blocks = []
        for i in range(depth):
            blocks.append(block(channels, width, _STRIDES[stage] if i == 0 else 1))
            channels = width
        network.add_module(f"stage{stage}", nn.Sequential(*blocks) if stage else blocks[0])
    network.add_module("gap", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(channels, classes))
    return network
