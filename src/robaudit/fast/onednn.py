"""A fused convolution by oneDNN's own operators, which do all of it in one pass over memory; for the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robaudit.fast.fused import FusedConvolution


class OneDNNConvolution(FusedConvolution):
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

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """As the base's; differentiable by both inputs."""
        x, other = x.to(self.dtype), None if other is None else other.to(self.dtype)
        out = _Differentiable.apply(x, other, self) if torch.is_grad_enabled() else self.compute(x, other)
        return out.to(self.out_dtype)

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
        if self.back:
            return torch.ops.mkldnn._convolution_pointwise(
                gradient, self.laid_back, None, *self.back, "none", [], ""
            )
        wanted = (self.stride, self.padding, self.dilation, False, [0, 0], self.groups, [True, False, False])
        return torch.ops.aten.convolution_backward(gradient, x, self.weight, None, *wanted)[0]


class _Differentiable(torch.autograd.Function):
    """`OneDNNConvolution.compute` and its derivative by the inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, layer: OneDNNConvolution) -> Tensor:
        out = layer.compute(x, other)
        ctx.layer = layer
        # Without a ReLU of its own, what comes next may change `out` in place.
        ctx.save_for_backward(x, out if layer.relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        layer = ctx.layer
        x, out = ctx.saved_tensors
        if layer.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        at_x = layer.derivative(gradient, x) if ctx.needs_input_grad[0] else None
        return at_x, gradient if ctx.needs_input_grad[1] else None, None
