"""ConvMixer (Trockman & Kolter 2022, https://arxiv.org/abs/2201.09792)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from robaudit.inputs.networks.family import Family, flag
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


class Added(nn.Module):
    """What the modules make of the input, added to the input."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.fn(x)


def conv_mixer(plan: MixerPlan, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """The whole network.

    Args:
        plan: its sizes.
        classes: outputs.
        in_channels: of the images.
        image_size: makes no difference.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    width, act = plan.width, nn.ReLU if plan.relu else nn.GELU

    def unit(conv: nn.Conv2d) -> list[nn.Module]:
        return [conv, act(), nn.BatchNorm2d(width)]

    modules = unit(nn.Conv2d(in_channels, width, plan.patch, plan.patch))
    for _ in range(plan.depth):
        deep = nn.Conv2d(width, width, plan.kernel, groups=width, padding="same")
        modules += [Added(*unit(deep)), *unit(nn.Conv2d(width, width, 1))]
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


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
