"""A fused convolution by cuDNN's own operators: bias, shortcut and ReLU in one pass over memory; for CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.fast.fused import OnePassConvolution


class CuDNNConvolution(OnePassConvolution):
    """As its base; cuDNN fuses only what ends in a ReLU."""

    def compute(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is."""
        assert self.weight is not None
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        if not self.relu:
            out = torch.conv2d(x, self.weight, self.bias, *geometry)
            return out if other is None else out.add_(other)
        if other is None:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, *geometry)
        other = other.contiguous(memory_format=torch.channels_last)
        return torch.cudnn_convolution_add_relu(x, self.weight, other, 1.0, self.bias, *geometry)
