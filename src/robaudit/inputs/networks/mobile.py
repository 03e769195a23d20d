"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381) in the forms that CIFAR checkpoints come in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.networks.family import Family, flag, priced
from robaudit.inputs.networks.sequential import build_sequential
from robaudit.inputs.networks.texts import parse_plan, plan_text

#: Strides of the stages in published networks for small images, the usual one first.
PATTERNS = ((1, 1, 2, 2, 1, 2, 1), (1, 2, 2, 2, 1, 2, 1), (1, 1, 1, 2, 1, 2, 1), (1, 1, 2, 2, 2, 2, 1))
#: Where the stages of the paper's network begin (its Table 2).
STAGES = (0, 1, 3, 6, 10, 13, 16)


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
        relu6: ReLU6 instead of ReLU; written as another kind, `mobilenetv2-relu6`.

    """

    stem: tuple[int, int]
    inner: tuple[int, ...]
    outs: tuple[int, ...]
    strides: tuple[int, ...]
    shortcuts: tuple[int, ...]
    last: int
    expand_first: bool = False
    relu6: bool = False


def mobile_net(plan: MobilePlan, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """Images (N, in_channels, image_size, image_size), already normalised, to logits (N, classes)."""
    if len({len(plan.inner), len(plan.outs), len(plan.strides), len(plan.shortcuts)}) != 1:
        raise RobauditError("mobilenetv2: inner, outs, strides and shortcuts need one number a block")
    act = "relu6" if plan.relu6 else "relu"
    channels, stride = plan.stem
    words = [f"conv{channels}k3s{stride}p1n bn {act}"]
    blocks = zip(plan.inner, plan.outs, plan.strides, plan.shortcuts, strict=True)
    for i, (inner, outs, step, shortcut) in enumerate(blocks):
        first = f"conv{inner}k1n bn {act} " if i > 0 or plan.expand_first else ""
        body = f"{first}conv{inner}k3s{step}p1g{inner}n bn {act} conv{outs}k1n bn"
        projection = f"else conv{outs}k1n bn " if shortcut else ""
        words.append(f"skip {body} {projection}add" if step == 1 and (channels == outs or shortcut) else body)
        channels = outs
    words.append(f"conv{plan.last}k1n bn {act} gap flatten fcK")
    return build_sequential(" ".join(words), classes, in_channels, image_size)


def _propose(layers: Sequence[Any], side: int) -> Iterator[MobilePlan]:
    """`conv norm, (1x1 norm, depthwise norm, 1x1 norm [, shortcut norm])..., 1x1 norm, linear`."""
    convs = [layer.shape for layer in layers if layer.kind == "conv"]
    deep = [i for i, shape in enumerate(convs) if i and shape[1:] == (1, 3, 3)]
    if not deep or deep[-1] + 2 >= len(convs):
        return
    ends = [
        *(i - 1 for i in deep[1:]),
        len(convs) - 1,
    ]  # where the next block's expansion or the last layer stands
    plan = MobilePlan(
        (convs[0][0], 1),
        inner=tuple(convs[i][0] for i in deep),
        outs=tuple(convs[i + 1][0] for i in deep),
        strides=(1,) * len(deep),
        shortcuts=tuple(int(end == i + 3) for i, end in zip(deep, ends, strict=True)),
        last=convs[-1][0],
        expand_first=deep[0] == 2,
    )
    yield dataclasses.replace(plan, strides=next(iter(_strides(plan))))


def _strides(plan: MobilePlan) -> dict[tuple[int, ...], float]:
    """Strides by block: those of the patterns where a stage begins.

    Narrow versions have stages in a row of one width: of 17 blocks, the paper tells where they begin.
    """
    changes = [0, *(i for i in range(1, len(plan.outs)) if plan.outs[i] != plan.outs[i - 1])]
    starts = STAGES if len(plan.outs) == 17 and len(changes) < 7 else changes
    found: dict[tuple[int, ...], float] = {}
    for rank, pattern in enumerate(PATTERNS):
        strides = [1] * len(plan.outs)
        for stage, start in enumerate(starts):
            strides[start] = pattern[stage] if stage < len(pattern) and not plan.shortcuts[start] else 1
        found.setdefault(tuple(strides), 0.3 * rank)
    return found


def _kind(plan: MobilePlan) -> str:
    return "mobilenetv2-relu6" if plan.relu6 else "mobilenetv2"


def _parse(text: str) -> MobilePlan | None:
    kind = text.partition(":")[0]
    if kind not in ("mobilenetv2", "mobilenetv2-relu6"):
        return None
    plan: MobilePlan = parse_plan(text, MobilePlan)
    return dataclasses.replace(plan, relu6=kind != "mobilenetv2")


FAMILY = Family(
    MobilePlan,
    parse=_parse,
    text=lambda plan: plan_text(_kind(plan), dataclasses.replace(plan, relu6=False)),
    build=mobile_net,
    free=(priced("strides", _strides), flag("relu6", 0.01)),
    propose=_propose,
)
