"""Residual networks of every family that CIFAR checkpoints come in, from one frozen plan.

Post-activation (He et al. 2015, https://arxiv.org/abs/1512.03385), pre-activation (He et al. 2016,
https://arxiv.org/abs/1603.05027) and wide (Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146),
with the shortcut variants that published code differs in. Modules carry the common names: `conv1`,
`bn1`, `layer1.0.conv1`, `layer1.0.shortcut.0`, `linear`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.activations import make_activation
from robaudit.inputs.networks.norms import make_norm
from robaudit.inputs.networks.residual_parts import Cosine, EndPadded, Gate, Padded, Shortcut


@dataclass(frozen=True)
class ResidualPlan:
    """Everything that fixes a residual network.

    Attributes:
        widths: output channels of each stage.
        depths: blocks in each stage.
        strides: of each stage's first block.
        groups: of the 3x3 convolution in a bottleneck (ResNeXt, https://arxiv.org/abs/1611.05431).
        mid: inner channels of each stage's bottlenecks; empty for basic blocks of two 3x3.
        stem: channels, kernel, stride of the first convolution.
        stem_pool: a 3x3 max-pooling of stride 2 follows it (ImageNet's stem).
        order: where normalisation and activation stand: after a convolution or before.
        shortcut: what replaces the identity where shapes change: a 1x1 convolution (behind 2x2 average
            pooling: `pool-conv`), or zero channels, on both sides (`pad`) or at the end (`pad-end`), of the
            subsampled or average-pooled input.
        project: where the shortcut is used: where needed, in every stage's first block, in all blocks.
        shortcut_norm: a normalisation follows the shortcut's convolution.
        shortcut_kernel: 1 or 3.
        shortcut_raw: in pre-activation, the shortcut starts before the first activation.
        norm: a word of `norms`.
        normed: which of a block's convolutions, from 1, have that norm beside them; empty for all.
        se: channels of a block over those between its two gating layers, which weigh channels by their means
            (Hu et al. 2018, https://arxiv.org/abs/1709.01507); 0 for none.
        se_conv: the gating layers are 1x1 convolutions.
        stem_norm: a normalisation follows the stem.
        last_norm: a normalisation and activation precede the pooling.
        last_act: an activation does, alone.
        bias: convolutions have a bias.
        activation: a word of `ACTIVATIONS` or `SLOPES`.
        stride_first: a bottleneck's stride is in its first convolution, not its second.
        stride_last: the stride of a block of two convolutions is in its second, not its first.
        pool: window of the last average pooling; 0 averages everything, 1 nothing.
        pool_max: that pooling takes the maximum.
        hidden: widths of linear layers before the last.
        hidden_linear: no activation follows these.
        cosine: the last layer's logits are cosines between features and its rows (https://arxiv.org/abs/1804.09458).
        pad_end: convolutions of stride 2 pad the far side only.
        even: convolutions of stride 2 have kernels of 4, those of shortcuts of 2 (Wong et al. 2018,
            https://arxiv.org/abs/1805.12514).

    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    strides: tuple[int, ...]
    mid: tuple[int, ...] = ()
    groups: int = 1
    stem: tuple[int, int, int] = (64, 3, 1)
    stem_pool: bool = False
    order: Literal["post", "pre"] = "post"
    shortcut: Shortcut = "conv"
    project: Literal["needed", "first", "all"] = "needed"
    shortcut_norm: bool = True
    shortcut_kernel: int = 1
    shortcut_raw: bool = False
    norm: str = "batch"
    normed: tuple[int, ...] = ()
    se: int = 0
    se_conv: bool = False
    stem_norm: bool = True
    last_norm: bool = False
    last_act: bool = False
    bias: bool = False
    activation: str = "relu"
    stride_first: bool = False
    stride_last: bool = False
    pool: int = 0
    pool_max: bool = False
    hidden: tuple[int, ...] = ()
    hidden_linear: bool = False
    cosine: bool = False
    pad_end: bool = False
    even: bool = False


def last_side(plan: ResidualPlan, image_size: int) -> int:
    """Pixels along a side of the last map, before its pooling."""
    side = image_size
    for stride in (plan.stem[2], 2 if plan.stem_pool else 1, *plan.strides):
        side = -(-side // stride)
    return side


class Block(nn.Module):
    """One residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1."""

    def __init__(self, plan: ResidualPlan, stage: int, ins: int, stride: int, first: bool) -> None:
        super().__init__()
        outs = plan.widths[stage]
        mid = plan.mid[stage] if plan.mid else outs
        sizes = (
            [(ins, mid, 1), (mid, mid, 3), (mid, outs, 1)] if plan.mid else [(ins, outs, 3), (outs, outs, 3)]
        )
        strided = int(plan.stride_last if len(sizes) == 2 else not plan.stride_first)
        self.pre, self.raw = plan.order == "pre", plan.shortcut_raw
        self.count = len(sizes)
        for i, (a, b, k) in enumerate(sizes, start=1):
            groups = plan.groups if k == 3 else 1
            step = stride if i - 1 == strided else 1
            far = plan.pad_end and step == 2 and k == 3
            kind = EndPadded if far else nn.Conv2d
            side = 4 if plan.even and step == 2 else k
            conv = kind(a, b, side, step, 0 if far else k // 2, groups=groups, bias=plan.bias)
            bare = plan.normed and i not in plan.normed
            norm = nn.Identity() if bare else make_norm(plan.norm, a if self.pre else b)
            pair = [(f"bn{i}", norm), (f"conv{i}", conv)]
            for name, module in pair if self.pre else reversed(pair):
                self.add_module(name, module)
        self.acts = nn.ModuleList(make_activation(plan.activation, a if self.pre else b) for a, b, _ in sizes)
        self.gate = Gate(outs, outs // plan.se, plan.se_conv) if plan.se else nn.Identity()
        projected = stride != 1 or ins != outs or plan.project == "all" or (plan.project == "first" and first)
        self.shortcut = _shortcut(plan, ins, outs, stride) if projected else nn.Sequential()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y = x
        for i in range(1, self.count + 1):
            conv, norm = getattr(self, f"conv{i}"), getattr(self, f"bn{i}")
            if self.pre:
                y = self.acts[i - 1](norm(y))
                if i == 1 and not self.raw and len(self.shortcut):
                    x = y
                y = conv(y)
            else:
                y = norm(conv(y))
                y = y if i == self.count else self.acts[i - 1](y)
        y = self.gate(y) + self.shortcut(x)
        return y if self.pre else self.acts[-1](y)


def _shortcut(plan: ResidualPlan, ins: int, outs: int, stride: int) -> nn.Sequential:
    if "conv" not in plan.shortcut:
        return nn.Sequential(Padded(outs - ins, stride, plan.shortcut))
    kernel = 2 if plan.even and stride == 2 else plan.shortcut_kernel
    pooled = plan.shortcut == "pool-conv" and stride > 1
    conv = nn.Conv2d(ins, outs, kernel, 1 if pooled else stride, (kernel - 1) // 2, bias=plan.bias)
    after = [make_norm(plan.norm, outs)] if plan.shortcut_norm and plan.norm != "none" else []
    return nn.Sequential(*([nn.AvgPool2d(stride)] if pooled else []), conv, *after)


class ResidualNet(nn.Module):
    """The network of a plan: (N, in_channels, image_size, image_size) to logits (N, classes)."""

    def __init__(self, plan: ResidualPlan, classes: int, in_channels: int = 3, image_size: int = 32) -> None:
        super().__init__()
        channels, kernel, stride = plan.stem
        self.plan = plan
        self.conv1 = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=plan.bias)
        self.bn1 = make_norm(plan.norm, channels) if plan.stem_norm else nn.Identity()
        if plan.order == "post":  # where the first, or the last, of learned slopes stands in files
            self.act = make_activation(plan.activation, channels)
        for stage, (width, depth, stride) in enumerate(
            zip(plan.widths, plan.depths, plan.strides, strict=True)
        ):
            blocks = []
            for i in range(depth):
                blocks.append(Block(plan, stage, channels, stride if i == 0 else 1, first=i == 0))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn = make_norm(plan.norm, channels) if plan.last_norm else nn.Identity()
        if plan.order == "pre":
            self.act = make_activation(plan.activation, channels)
        side = 1 if plan.pool == 0 else last_side(plan, image_size) // plan.pool
        sizes = [channels * side * side, *plan.hidden]
        for i, size in enumerate(plan.hidden):
            self.add_module(f"linear{i + 1}", nn.Linear(sizes[i], size))
        self.linear = Cosine(sizes[-1], classes) if plan.cosine else nn.Linear(sizes[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images, already normalised, to logits."""
        plan = self.plan
        y = self.conv1(x)
        y = self.act(self.bn1(y)) if plan.order == "post" or plan.stem_norm else y
        y = F.max_pool2d(y, 3, 2, 1) if plan.stem_pool else y
        for stage in range(len(plan.widths)):
            y = getattr(self, f"layer{stage + 1}")(y)
        y = self.act(self.bn(y)) if plan.last_norm or plan.last_act else y
        if plan.pool_max:
            y = F.adaptive_max_pool2d(y, 1) if plan.pool == 0 else F.max_pool2d(y, plan.pool)
        else:
            y = F.adaptive_avg_pool2d(y, 1) if plan.pool == 0 else F.avg_pool2d(y, plan.pool)
        y = y.flatten(1)
        for i in range(len(plan.hidden)):
            y = getattr(self, f"linear{i + 1}")(y)
            y = y if plan.hidden_linear else self.act(y)
        logits: torch.Tensor = self.linear(y)
        return logits
