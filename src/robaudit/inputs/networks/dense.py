"""DenseNet (Huang et al. 2017, https://arxiv.org/abs/1608.06993) in the forms that CIFAR checkpoints come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.family import Family, flag, priced
from robaudit.inputs.networks.texts import parse_plan, plan_text


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


def _propose(layers: Sequence[Any], side: int) -> Iterator[DensePlan]:
    """`conv, [norm,] (norm conv [norm conv])..., norm, linears`, or the same without any norm."""
    convs = [layer.shape for layer in layers if layer.kind == "conv"]
    linears = [layer.shape for layer in layers if layer.kind == "linear"]
    growth = next((shape[0] for shape in convs[1:] if shape[2] == 3), 0)
    if len(convs) < 4 or not linears or not growth:
        return
    stem, body = convs[0][0], convs[1:]
    neck = body[0][0] if body[0][2] == 1 else 0
    blocks, transitions, at, channels = [0], list[int](), 0, stem
    step = 2 if neck else 1
    while at < len(body):
        if body[at][2] == (1 if neck else 3) and at + step <= len(body) and body[at + step - 1][2] == 3:
            blocks[-1] += 1
            channels, at = channels + growth, at + step
        else:
            transitions.append(body[at][0])
            blocks.append(0)
            channels, at = body[at][0], at + 1
    bare = not any(layer.kind == "norm" for layer in layers)
    stem_norm = not bare and layers[1].kind == layers[2].kind == "norm"
    yield DensePlan(
        growth, tuple(blocks), stem, tuple(transitions), neck, new_first=not stem_norm, stem_norm=stem_norm, bare=bare,
        flat=linears[0][1] != channels, hidden=tuple(shape[0] for shape in linears[:-1]),
    )  # fmt: skip


FAMILY = Family(
    DensePlan,
    parse=lambda text: parse_plan(text, DensePlan) if text.startswith("densenet:") else None,
    text=lambda plan: plan_text("densenet", plan),
    build=dense_net,
    free=(
        priced("new_first", lambda plan: {not plan.stem_norm: 0.0, plan.stem_norm: 0.2}),
        flag("stem_pool", 0.1, when=lambda plan: plan.stem_norm),
    ),
    propose=_propose,
)
