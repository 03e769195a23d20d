"""DenseNet (Huang et al. 2017, https://arxiv.org/abs/1608.06993) and MobileNetV2 (Sandler et al. 2018,
https://arxiv.org/abs/1801.04381) in the forms that CIFAR checkpoints come in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class DensePlan:
    """A DenseNet.

    Attributes:
        growth: channels that each layer adds.
        blocks: layers in each dense block.
        stem: channels of the first convolution.
        transitions: channels after each transition.
        neck: channels of the 1x1 convolution before each 3x3; 0 for none.
        new_first: a layer's output stands before its input in the concatenation.
        stem_norm: norm and ReLU follow the first convolution.
        stem_pool: and then max pooling by two, 3x3.
        bare: there is no norm anywhere.
        flat: the last map is flattened, not averaged.
        hidden: widths of linear layers before the last.

    """

    growth: int
    blocks: tuple[int, ...]
    stem: int
    transitions: tuple[int, ...]
    neck: int
    new_first: bool = True
    stem_norm: bool = False
    stem_pool: bool = False
    bare: bool = False
    flat: bool = False
    hidden: tuple[int, ...] = ()


def _norm(plan: DensePlan, channels: int) -> nn.Module:
    return nn.Identity() if plan.bare else nn.BatchNorm2d(channels)


class DenseLayer(nn.Module):
    """Norm, activation, convolution, once or twice; its output joins its input."""

    def __init__(self, ins: int, plan: DensePlan) -> None:
        super().__init__()
        self.new_first = plan.new_first
        sizes = [(ins, plan.neck, 1), (plan.neck, plan.growth, 3)] if plan.neck else [(ins, plan.growth, 3)]
        self.count = len(sizes)
        for i, (a, b, k) in enumerate(sizes, start=1):
            self.add_module(f"bn{i}", _norm(plan, a))
            self.add_module(f"conv{i}", nn.Conv2d(a, b, k, padding=k // 2, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C + growth, H, W)."""
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"conv{i}")(F.relu(getattr(self, f"bn{i}")(y)))
        return torch.cat([y, x] if self.new_first else [x, y], 1)


class Transition(nn.Module):
    """Norm, activation, 1x1 convolution, average pooling by two."""

    def __init__(self, ins: int, outs: int, plan: DensePlan) -> None:
        super().__init__()
        self.bn, self.conv = _norm(plan, ins), nn.Conv2d(ins, outs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / 2, W / 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


def dense_net(plan: DensePlan, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """Images (N, in_channels, image_size, image_size), already normalised, to logits (N, classes)."""
    channels = plan.stem
    modules: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
    modules += [nn.BatchNorm2d(channels), nn.ReLU()] if plan.stem_norm else []
    modules += [nn.MaxPool2d(3, 2, 1)] if plan.stem_pool else []
    for i, depth in enumerate(plan.blocks):
        for _ in range(depth):
            modules.append(DenseLayer(channels, plan))
            channels += plan.growth
        if i < len(plan.transitions):
            modules.append(Transition(channels, plan.transitions[i], plan))
            channels = plan.transitions[i]
    modules += [_norm(plan, channels), nn.ReLU()]
    modules += [] if plan.flat else [nn.AdaptiveAvgPool2d(1)]
    features = channels * (map_side(plan, image_size) ** 2 if plan.flat else 1)
    modules.append(nn.Flatten())
    for width in plan.hidden:
        modules += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*modules, nn.Linear(features, classes))


def map_side(plan: DensePlan, image_size: int) -> int:
    """Pixels along a side of the last map."""
    side = -(-image_size // 2) if plan.stem_pool else image_size
    return side >> len(plan.transitions)


@dataclass(frozen=True)
class MobilePlan:
    """A MobileNetV2.

    Attributes:
        stem: channels and stride of the first convolution.
        inner: channels inside each block.
        outs: channels after each block.
        strides: of each block.
        shortcuts: blocks whose shortcut has a convolution and norm (1) or not (0).
        last: channels of the last 1x1 convolution.
        expand_first: the first block has its own 1x1 expansion.

    """

    stem: tuple[int, int]
    inner: tuple[int, ...]
    outs: tuple[int, ...]
    strides: tuple[int, ...]
    shortcuts: tuple[int, ...]
    last: int
    expand_first: bool = False


class Inverted(nn.Module):
    """1x1 expansion, depthwise 3x3, 1x1 projection; residual where stride is 1 and shapes allow."""

    def __init__(
        self, ins: int, inner: int, outs: int, how: tuple[int, bool, bool], act: type[nn.Module]
    ) -> None:
        super().__init__()
        stride, expand, shortcut = how
        first = [nn.Conv2d(ins, inner, 1, bias=False), nn.BatchNorm2d(inner), act()] if expand else []
        depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        last = [nn.Conv2d(inner, outs, 1, bias=False), nn.BatchNorm2d(outs)]
        self.body = nn.Sequential(*first, depthwise, nn.BatchNorm2d(inner), act(), *last)
        self.residual = stride == 1 and (ins == outs or shortcut)
        self.shortcut = nn.Sequential(
            *([nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs)] if shortcut else [])
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y: torch.Tensor = self.body(x)
        return y + self.shortcut(x) if self.residual else y


def mobile_net(plan: MobilePlan, classes: int, in_channels: int, relu6: bool) -> nn.Sequential:
    """Images, already normalised, to logits (N, classes)."""
    act: type[nn.Module] = nn.ReLU6 if relu6 else nn.ReLU
    channels, stride = plan.stem
    stem = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
    modules: list[nn.Module] = [stem, nn.BatchNorm2d(channels), act()]
    blocks = zip(plan.inner, plan.outs, plan.strides, plan.shortcuts, strict=True)
    for i, (inner, outs, step, shortcut) in enumerate(blocks):
        how = (step, i > 0 or plan.expand_first, bool(shortcut))
        modules.append(Inverted(channels, inner, outs, how, act))
        channels = outs
    last = [nn.Conv2d(channels, plan.last, 1, bias=False), nn.BatchNorm2d(plan.last), act()]
    return nn.Sequential(
        *modules, *last, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(plan.last, classes)
    )
