"""RepVGG (Ding et al. 2021, https://arxiv.org/abs/2101.03697) with strides for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import classifying, conv_norm, stages

#: Widths of stem and four stages.
_WIDTHS = {"a0": (48, 48, 96, 192, 1280), "a1": (64, 64, 128, 256, 1280), "a2": (64, 96, 192, 384, 1408)}
_DEPTHS, _STRIDES = (1, 2, 4, 14, 1), (1, 1, 2, 2, 2)


class Branch(nn.Module):
    """A convolution with its norm."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv, self.bn = conv_norm(ins, outs, kernel, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        return self.bn(self.conv(x))


class RepBlock(nn.Module):
    """Sum of a 3x3 branch, a 1x1 branch and, where shapes allow, the normalised input (Fig. 2b)."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.rbr_identity = nn.BatchNorm2d(ins) if ins == outs and stride == 1 else None
        self.rbr_dense, self.rbr_1x1 = Branch(ins, outs, 3, stride), Branch(ins, outs, 1, stride)

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
    """RepVGG-A0, A1 or A2, by a key of `_WIDTHS`; `fused` with one convolution a block, as after training."""
    block = FusedBlock if fused else RepBlock
    made: list[nn.Module] = [*stages(block, in_channels, _WIDTHS[size], _DEPTHS, _STRIDES)]
    made[0] = made[0][0]  # type: ignore[index]
    return classifying({f"stage{i}": stage for i, stage in enumerate(made)}, _WIDTHS[size][-1], classes)
