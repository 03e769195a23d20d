"""What published networks share: convolutions with their norm, shortcuts, stages, what comes first and last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn


def conv_norm(ins: int, outs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the map's size (over the stride), and its batch norm."""
    conv = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outs)]


def projection(ins: int, outs: int, stride: int, needed: bool | None = None) -> nn.Sequential:
    """A shortcut: a 1x1 convolution with norm where it is needed, by default where shapes change; else nothing."""
    needed = stride != 1 or ins != outs if needed is None else needed
    return nn.Sequential(*(conv_norm(ins, outs, 1, stride) if needed else []))


def stem(in_channels: int, width: int, activation: type[nn.Module] = nn.ReLU) -> dict[str, nn.Module]:
    """Modules by name: a 3x3 convolution of stride 1 with its norm, and an activation."""
    return dict(zip(("conv1", "bn1", "act"), [*conv_norm(in_channels, width, 3), activation()], strict=True))


def stages(
    block: Callable[[int, int, int], nn.Module],
    channels: int,
    widths: Sequence[int],
    depths: Sequence[int],
    strides: Sequence[int],
) -> list[nn.Sequential]:
    """Blocks in a row, made by their (input channels, output channels, stride), where each stage's first is strided."""
    made: list[nn.Sequential] = []
    for width, depth, stride in zip(widths, depths, strides, strict=True):
        ins = [channels, *[width] * (depth - 1)]
        made.append(nn.Sequential(*(block(c, width, 1 if i else stride) for i, c in enumerate(ins))))
        channels = width
    return made


def classifying(body: Mapping[str, nn.Module], features: int, classes: int) -> nn.Sequential:
    """Modules by name in a row, then the mean over the map, then a linear layer.

    Args:
        body: to (N, features, H, W).
        features: that the linear layer is given.
        classes: outputs.

    Returns:
        A network with outputs (N, classes).

    """
    network = nn.Sequential()
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(features, classes)}
    for name, module in {**body, **head}.items():
        network.add_module(name, module)
    return network
