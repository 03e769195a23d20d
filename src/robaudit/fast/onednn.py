"""A convolution by oneDNN's own operators, with what follows it done in the same pass over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class FusedConvolution(nn.Module):
    """A convolution by oneDNN, then an addition and a ReLU where there are such; the weights get no gradient.

    Args:
        conv: whose weights it takes.
        norm: the batch norm behind it, to be folded in.
        shapes: of what goes in and of what comes out.
        relu: whether a ReLU comes last.

    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, shapes: tuple[list[int], list[int]], *, relu: bool
    ) -> None:
        super().__init__()
        self.settings = (
            [int(size) for size in conv.padding],
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
        )
        self.relu, self.shapes = relu, shapes
        #: What it computes in, and what it answers in.
        self.dtype, self.out_dtype = torch.float32, torch.float32
        padding, stride, dilation, groups = self.settings
        back = [d * (k - 1) - p for d, k, p in zip(dilation, conv.kernel_size, padding, strict=True)]
        #: Of the convolution that the derivative by the inputs is, where it is one.
        self.back = (
            (back, stride, dilation, 1) if stride == [1, 1] and groups == 1 and min(back) >= 0 else None
        )
        self.sources = (conv, norm)  # in a tuple: their parameters stay theirs
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the weights, with the batch norm folded into them, and lay them out for oneDNN."""
        conv, norm = self.sources
        weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            weight, bias = (part.detach() for part in fuse_conv_bn_weights(weight, bias, *statistics))
        weight = weight.to(self.dtype)
        self.weight, self.bias = weight, None if bias is None else bias.to(self.dtype)
        lay_out = torch.ops.mkldnn._reorder_convolution_weight
        self.laid_out = lay_out(weight, *self.settings, self.shapes[0])
        if self.back:
            turned = weight.transpose(0, 1).flip(2, 3).contiguous()
            self.laid_back = lay_out(turned, *self.back, self.shapes[1])

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """As `compute`, in `dtype`, answered in `out_dtype`; differentiable by both inputs."""
        x, other = x.to(self.dtype), None if other is None else other.to(self.dtype)
        out = _Differentiable.apply(x, other, self) if torch.is_grad_enabled() else self.compute(x, other)
        return out.to(self.out_dtype)

    def compute(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is."""
        convolution = torch.ops.mkldnn._convolution_pointwise
        inputs = (self.laid_out, self.bias, *self.settings)
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
        padding, stride, dilation, groups = self.settings
        wanted = (stride, padding, dilation, False, [0, 0], groups, [True, False, False])
        return torch.ops.aten.convolution_backward(gradient, x, self.weight, None, *wanted)[0]


class _Differentiable(torch.autograd.Function):
    """`FusedConvolution.compute` and its derivative by the inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, layer: FusedConvolution) -> Tensor:
        out = layer.compute(x, other)
        ctx.layer = layer
        ctx.save_for_backward(x, out)
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
