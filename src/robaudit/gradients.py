"""Derivatives with respect to a network's input."""

from __future__ import annotations

import torch
from torch import Tensor


def input_gradient(value: Tensor, x: Tensor) -> Tensor:
    """The derivative of a number by `x`: zero where nothing can be derived, behind thresholds or integers, say."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value, x, materialize_grads=True)
    return gradient
