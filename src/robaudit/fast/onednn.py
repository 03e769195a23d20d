"""A fused convolution by oneDNN's own operators, which do all of it in one pass over memory; for the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.fast.fused import OnePassConvolution


class OneDNNConvolution(OnePassConvolution):
    """As its base, with the weights laid out once for oneDNN."""

    def lay_out(self, weight: Tensor, bias: Tensor | None) -> None:
        """Keep the weights as oneDNN wants them, forwards and backwards."""
        self.weight, self.bias = weight, bias
        forwards = (self.padding, self.stride, self.dilation, self.groups)
        lay_out = torch.ops.mkldnn._reorder_convolution_weight
        self.laid_out = lay_out(weight, *forwards, self.shapes[0])
        self.back = self._backwards(list(weight.shape[2:]))
        if self.back:
            turned = weight.transpose(0, 1).flip(2, 3).contiguous()
            self.laid_back = lay_out(turned, *self.back, self.shapes[1])

    def _backwards(self, kernel: list[int]) -> tuple[list[int], list[int], list[int], int] | None:
        """Of the convolution that the derivative by the inputs is, where it is one."""
        back = [d * (k - 1) - p for d, k, p in zip(self.dilation, kernel, self.padding, strict=True)]
        one = self.stride == [1, 1] and self.groups == 1 and min(back) >= 0
        return (back, self.stride, self.dilation, 1) if one else None

    def compute(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is."""
        convolution = torch.ops.mkldnn._convolution_pointwise
        inputs = (self.laid_out, self.bias, self.padding, self.stride, self.dilation, self.groups)
        if other is None:
            return convolution(x, *inputs, "relu" if self.relu else "none", [], "")
        relu = "relu" if self.relu else None
        return convolution.binary(x, other, *inputs, "add", 1.0, relu, [], "")

    def derivative(self, gradient: Tensor, x: Tensor) -> Tensor:
        """By the inputs `x`, from that by the convolution's outputs."""
        if not self.back:
            return super().derivative(gradient, x)
        return torch.ops.mkldnn._convolution_pointwise(
            gradient, self.laid_back, None, *self.back, "none", [], ""
        )
