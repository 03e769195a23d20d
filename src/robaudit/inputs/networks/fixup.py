"""Fixup (Zhang, Dauphin & Ma 2019, https://arxiv.org/abs/1901.09321): residual networks without normalisation.

Scalars take its place: a bias before and after every convolution, a multiplier at the end of every block. Files hold
them as lone numbers (`bias1`, `layer1.0.bias1a`, `layer1.0.scale`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.activations import make_activation
from robaudit.inputs.networks.family import Family, activations, flag, priced
from robaudit.inputs.networks.residual_parts import Padded, Shortcut
from robaudit.inputs.networks.texts import parse_plan, plan_text


@dataclass(frozen=True)
class FixupPlan:
    """A residual network with basic blocks and Fixup's scalars.

    Attributes:
        widths: output channels of each stage.
        depths: blocks in each stage.
        stem: channels of the first convolution.
        strides: of each stage's first block.
        shortcut: where shapes change, zero channels at the end or on both sides of the subsampled or pooled input.
        shortcut_raw: that shortcut starts before the block's first bias.
        activation: a word of `ACTIVATIONS`.

    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    stem: int
    strides: tuple[int, ...]
    shortcut: Shortcut = "pad-end"
    shortcut_raw: bool = False
    activation: str = "relu"


class Scalar(nn.Module):
    """One learned number: added, or multiplied by."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), value))


class FixupBlock(nn.Module):
    """Two 3x3 convolutions with a bias before and after each, a multiplier, and the shortcut."""

    def __init__(self, plan: FixupPlan, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a = Scalar(), Scalar(), Scalar()
        self.scale, self.bias2b = Scalar(1.0), Scalar()
        self.conv1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.act, self.raw = make_activation(plan.activation, outs), plan.shortcut_raw
        changes = stride > 1 or ins != outs
        self.shortcut = Padded(outs - ins, stride, plan.shortcut) if changes else nn.Identity()
        self.changes = changes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        first = x + self.bias1a.weight
        y = self.act(self.conv1(first) + self.bias1b.weight)
        y = self.conv2(y + self.bias2a.weight) * self.scale.weight + self.bias2b.weight
        return self.act(y + self.shortcut(first if self.changes and not self.raw else x))


class FixupNet(nn.Module):
    """The network of a plan: (N, in_channels, H, W), already normalised, to logits (N, classes)."""

    def __init__(self, plan: FixupPlan, classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.bias1, self.bias2 = (
            Scalar(),
            Scalar(),
        )  # before all else, as a module's own parameters stand in files
        self.conv1 = nn.Conv2d(in_channels, plan.stem, 3, 1, 1, bias=False)
        self.act = make_activation(plan.activation, plan.stem)
        channels, stages = plan.stem, zip(plan.widths, plan.depths, plan.strides, strict=True)
        self.stages = len(plan.widths)
        for stage, (width, depth, stride) in enumerate(stages, start=1):
            blocks = nn.Sequential()
            for i in range(depth):
                blocks.append(FixupBlock(plan, channels, width, stride if i == 0 else 1))
                channels = width
            self.add_module(f"layer{stage}", blocks)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        y = self.act(self.conv1(x) + self.bias1.weight)
        for stage in range(1, self.stages + 1):
            y = getattr(self, f"layer{stage}")(y)
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1) + self.bias2.weight)


def _propose(layers: Sequence[Any], side: int) -> Iterator[FixupPlan]:
    """Two lone numbers for the network and five for each block of two convolutions; a stage for each width."""
    convs = [layer.shape for layer in layers if layer.kind == "conv"]
    numbers = sum(layer.shape == (1,) for layer in layers)
    blocks = [shape[0] for shape in convs[1::2]]
    if not blocks or numbers != 2 + 5 * len(blocks):
        return
    stages = [(width, len(list(same))) for width, same in groupby(blocks)]
    widths, depths = zip(*stages, strict=True)
    yield FixupPlan(widths, depths, convs[0][0], (1, *(2,) * (len(stages) - 1)))


def _strides(plan: FixupPlan) -> dict[tuple[int, ...], float]:
    rest = (2,) * (len(plan.strides) - 1)
    return {(1, *rest): 0.0, (2, *rest): 1.0}


FAMILY = Family(
    FixupPlan,
    parse=lambda text: parse_plan(text, FixupPlan) if text.startswith("fixup:") else None,
    text=lambda plan: plan_text("fixup", plan),
    build=FixupNet,
    free=(
        priced("shortcut", lambda _: {"pad-end": 0.0, "pad": 0.3, "pool-pad-end": 0.6, "pool-pad": 0.9}),
        flag("shortcut_raw", 0.4),
        priced("strides", _strides),
        activations(),
    ),
    propose=_propose,
)
