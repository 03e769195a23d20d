"""A convolution with what follows it: a batch norm folded into its weights, an addition and a ReLU done in place."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class FusedConvolution(nn.Module):
    """On any device, by torch's own operators; the weights get no gradient.

    Args:
        conv: whose weights it takes.
        norm: the batch norm behind it, to be folded in.
        shapes: of what goes in and of what comes out.
        relu: whether a ReLU comes last.

    Attributes:
        dtype, out_dtype: what it computes in, and what it answers in; `refresh` acts on a change.

    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, shapes: tuple[list[int], list[int]], *, relu: bool
    ) -> None:
        super().__init__()
        self.padding, self.stride, self.dilation = (
            [int(size) for size in sizes] for sizes in (conv.padding, conv.stride, conv.dilation)
        )
        self.groups = conv.groups
        self.relu, self.shapes = relu, shapes
        self.dtype, self.out_dtype = torch.float32, torch.float32
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.sources = (conv, norm)  # in a tuple: their parameters stay theirs
        self.refresh()

    @property
    def multiplications(self) -> int:
        """For one example."""
        conv = self.sources[0]
        return conv.weight[0].numel() * math.prod(self.shapes[1][1:])

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the weights, with the batch norm folded into them."""
        conv, norm = self.sources
        weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            weight, bias = (part.detach() for part in fuse_conv_bn_weights(weight, bias, *statistics))
        self.lay_out(weight.to(self.dtype), None if bias is None else bias.to(self.dtype))

    def lay_out(self, weight: Tensor, bias: Tensor | None) -> None:
        """Keep a copy of the weights; where the last one was, if it fits, for a recorded pass reads it there."""
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight, self.bias = _copied(weight, self.weight), _copied(bias, self.bias)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is, in `dtype`, answered in `out_dtype`."""
        assert self.weight is not None
        out = F.conv2d(
            x.to(self.dtype), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        if other is not None:
            out = out.add_(other.to(self.dtype))
        if self.relu:
            out = out.relu_()
        return out.to(self.out_dtype)


class OnePassConvolution(FusedConvolution):
    """A fused convolution by one operator of a library's own, which autograd does not know: `compute`."""

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """As the base's; differentiable by both inputs."""
        x, other = x.to(self.dtype), None if other is None else other.to(self.dtype)
        out = _Differentiable.apply(x, other, self) if torch.is_grad_enabled() else self.compute(x, other)
        return out.to(self.out_dtype)

    def compute(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is."""
        raise NotImplementedError

    def derivative(self, gradient: Tensor, x: Tensor) -> Tensor:
        """By the inputs `x`, from that by the convolution's outputs."""
        wanted = (self.stride, self.padding, self.dilation, False, [0, 0], self.groups, [True, False, False])
        return torch.ops.aten.convolution_backward(gradient, x, self.weight, None, *wanted)[0]


class _Differentiable(torch.autograd.Function):
    """`OnePassConvolution.compute` and its derivative by the inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, layer: OnePassConvolution) -> Tensor:
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


def _copied(new: Tensor | None, old: Tensor | None) -> Tensor | None:
    if new is None or old is None or old.dtype != new.dtype:
        return None if new is None else new.clone()
    return old.copy_(new)
