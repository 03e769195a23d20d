"""What residual networks are made of beside convolutions: shortcuts without parameters, gates, cosine heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.errors import RobauditError

Shortcut = Literal["conv", "pool-conv", "pad", "pad-end", "pool-pad", "pool-pad-end"]


class EndPadded(nn.Conv2d):
    """A 3x3 convolution of stride 2 that pads the far side only, as TensorFlow does with even sizes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, outs, H / 2, W / 2)."""
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Padded(nn.Module):
    """A shortcut without parameters: the input made smaller, with zero channels added."""

    def __init__(self, extra: int, stride: int, kind: Shortcut) -> None:
        super().__init__()
        self.stride, self.pooled = stride, kind.startswith("pool")
        self.before = 0 if kind.endswith("end") else extra // 2
        self.after = extra - self.before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C + extra, H / stride, W / stride)."""
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride) if self.pooled else x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


class Cosine(nn.Linear):
    """A last layer without bias whose logits are cosines, in [-1, 1]."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, features) to (N, classes)."""
        if "bias" in self._parameters and self._parameters["bias"] is not None:  # put there from a file
            raise RobauditError(f"{type(self).__name__}: a layer of cosines has no bias, the file's has one")
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class Gate(nn.Module):
    """Weighs channels by numbers in (0, 1) that two layers make of the channels' means."""

    def __init__(self, channels: int, inner: int, conv: bool) -> None:
        super().__init__()
        layer: Callable[[int, int], nn.Module] = partial(nn.Conv2d, kernel_size=1) if conv else nn.Linear
        self.conv = conv
        self.fc1, self.fc2 = layer(channels, inner), layer(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same."""
        means = x.mean((2, 3), keepdim=True) if self.conv else x.mean((2, 3))
        weights = self.fc2(F.relu(self.fc1(means))).sigmoid()
        return x * weights.reshape(*x.shape[:2], 1, 1)
