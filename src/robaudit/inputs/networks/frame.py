"""What published networks for small images share around their blocks: one convolution first, one linear layer last."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def framed(
    body: Mapping[str, nn.Module],
    in_channels: int,
    width: int,
    last: int,
    classes: int,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """A 3x3 convolution of stride 1 with its norm, the blocks, the mean over the image, a linear layer.

    Args:
        body: blocks by name, from (N, width, H, W) to (N, last, H', W').
        in_channels: of the images.
        width: channels of the first convolution.
        last: channels that the linear layer is given.
        classes: outputs.
        activation: after the first norm.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(width))
    network.add_module("act", activation())
    for name, block in body.items():
        network.add_module(name, block)
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(last, classes))
    return network
