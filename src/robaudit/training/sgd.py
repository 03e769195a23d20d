"""SGD with Nesterov's momentum and weight decay, as torch's, whose module takes seconds to import and has much more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SGD:
    """v = momentum v + g + decay w, then w -= lr (g + decay w + momentum v); plain where momentum is 0.

    The first v is the first g + decay w, so that the numbers are those of `torch.optim.SGD(nesterov=True)`.
    """

    def __init__(self, network: nn.Module, momentum: float, decay: float) -> None:
        self.weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.momentum, self.decay = momentum, decay
        self.velocity: dict[str, Tensor] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights.values():
            weight.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move every weight that has a gradient."""
        named = {name: weight for name, weight in self.weights.items() if weight.grad is not None}
        weights: list[Tensor] = list(named.values())
        slopes = [weight.grad for weight in weights if weight.grad is not None]
        if self.decay:
            slopes = list(torch._foreach_add(slopes, weights, alpha=self.decay))
        if self.momentum:
            new = [name for name in named if name not in self.velocity]
            self.velocity |= {name: torch.zeros_like(named[name]) for name in new}
            velocity = [self.velocity[name] for name in named]
            torch._foreach_mul_(velocity, self.momentum)
            torch._foreach_add_(velocity, slopes)
            slopes = list(torch._foreach_add(slopes, velocity, alpha=self.momentum))
        torch._foreach_add_(weights, slopes, alpha=-lr)

    def state(self) -> dict[str, Any]:
        """What a run needs to go on: the velocities by name."""
        return {name: tensor.clone() for name, tensor in self.velocity.items()}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave, on the weights' device and in their memory format."""
        self.velocity = {
            name: torch.empty_like(self.weights[name]).copy_(tensor) for name, tensor in state.items()
        }
