"""ConvMixer (Trockman & Kolter 2022, https://arxiv.org/abs/2201.09792)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from robaudit.inputs.networks.family import Family, flag
from robaudit.inputs.networks.sequential import build_sequential
from robaudit.inputs.networks.texts import parse_plan, plan_text


@dataclass(frozen=True)
class MixerPlan:
    """A ConvMixer.

    Attributes:
        width: channels of every layer.
        depth: blocks.
        kernel: of the depthwise convolutions.
        patch: kernel and stride of the first convolution.
        relu: ReLU instead of GELU.

    """

    width: int
    depth: int
    kernel: int
    patch: int
    relu: bool = False


def conv_mixer(plan: MixerPlan, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """Images (N, in_channels, image_size, image_size), already normalised, to logits (N, classes)."""
    width, kernel, act = plan.width, plan.kernel, "relu" if plan.relu else "gelu"
    deep = f"pad{(kernel - 1) // 2}-{kernel // 2} conv{width}k{kernel}g{width}"
    block = f"skip {deep} {act} bn add conv{width}k1 {act} bn "
    words = f"conv{width}k{plan.patch}s{plan.patch} {act} bn {block * plan.depth} gap flatten fcK"
    return build_sequential(words, classes, in_channels, image_size)


def _propose(layers: Sequence[Any], side: int) -> Iterator[MixerPlan]:
    """`conv norm, (depthwise norm, 1x1 norm)..., linear`."""
    convs = [layer.shape for layer in layers if layer.kind == "conv"]
    if len(convs) > 2:
        width, _, patch, _ = convs[0]
        yield MixerPlan(width, len(convs) // 2, convs[1][2], patch)


FAMILY = Family(
    MixerPlan,
    parse=lambda text: parse_plan(text, MixerPlan) if text.startswith("convmixer:") else None,
    text=lambda plan: plan_text("convmixer", plan),
    build=conv_mixer,
    free=(flag("relu", 0.4),),
    propose=_propose,
)
