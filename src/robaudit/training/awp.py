"""Adversarial weight perturbation (Wu et al. 2020, https://arxiv.org/abs/2004.05884, Algorithm 1; Li et al., App. H).

Before the step, every weight matrix and kernel is moved along the gradient of the loss by `radius` times its own norm;
the step's gradient is taken there, and the move is undone before the weights are updated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_TINY = 1e-20


@contextmanager
def same_buffers(network: nn.Module) -> Iterator[None]:
    """Batch norm's running statistics, and every other buffer, afterwards as they were."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(before[name])


def perturbation(gradients: dict[str, Tensor], network: nn.Module, radius: float) -> dict[str, Tensor]:
    """How far each weight is moved: radius * |w| * g / |g|, for tensors with more than one dimension."""
    weights = dict(network.named_parameters())
    return {
        name: radius * weights[name].detach().norm() / (gradient.norm() + _TINY) * gradient
        for name, gradient in gradients.items()
        if weights[name].dim() > 1
    }


@contextmanager
def moved(network: nn.Module, by: dict[str, Tensor]) -> Iterator[None]:
    """The network with its weights moved; afterwards exactly as before."""
    named = dict(network.named_parameters())
    before = {name: named[name].detach().clone() for name in by}
    with torch.no_grad():
        for name, amount in by.items():
            named[name].add_(amount)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                named[name].copy_(weight)
