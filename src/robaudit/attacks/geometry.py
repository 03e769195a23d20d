"""The ball of the threat model cut with [0, 1]: project, start, measure.

Inputs are `(n, C, H, W)` in [0, 1]; `eps` is a radius in the same units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.randomness import Draws
from robaudit.devices import in_double

_TINY = 1e-12


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """(n,) shaped so that it broadcasts against `like`, (n, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def l2(x: Tensor) -> Tensor:
    """The Euclidean norm of each row, (n,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def distance(x_adv: Tensor, x: Tensor, norm: str) -> Tensor:
    """The size of each row's perturbation in `norm`, (n,)."""
    difference = (x_adv - x).flatten(1)
    return difference.abs().amax(1) if norm == "Linf" else torch.linalg.vector_norm(difference, dim=1)


def dual_norm(gradient: Tensor, norm: str) -> Tensor:
    """The norm dual to `norm` of each row, (n,): how much a unit of perturbation can change the loss."""
    return gradient.flatten(1).abs().sum(1) if norm == "Linf" else l2(gradient)


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """The unit step of steepest ascent: the sign for Linf, the normalised gradient for L2."""
    if norm == "Linf":
        return gradient.sign()
    # Divided by its largest entry first: a gradient of 1e-30 has a direction, but its square is 0.
    scaled = gradient / per_row(gradient.flatten(1).abs().amax(1).clamp_min(1e-38), gradient)
    return scaled / per_row(l2(scaled).clamp_min(_TINY), gradient)


def project(x_adv: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """The point of the ball around `x` cut with [0, 1] that the attacks continue from."""
    if norm == "Linf":
        return torch.minimum(torch.maximum(x_adv, x - eps), x + eps).clamp(0, 1)
    delta = x_adv - x
    shrink = (eps / l2(delta).clamp_min(_TINY)).clamp_max(1)
    return (x + delta * per_row(shrink, x)).clamp(0, 1)


def start_in_ball(draws: Draws, ids: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """Uniform in the ball (PGD's random start, https://arxiv.org/abs/1706.06083), then clipped to [0, 1]."""
    size = x[0].numel()
    if norm == "Linf":
        delta = (draws.uniform(ids, 0, size) * 2 - 1) * eps
    else:
        direction = draws.normal(ids, 0, size)
        radius = in_double(draws.uniform(ids, 1, 1)).pow(1 / size).to(x.device, x.dtype)
        delta = direction / l2(direction)[:, None].clamp_min(_TINY) * radius * eps
    return (x + delta.reshape(x.shape)).clamp(0, 1)


def start_on_sphere(draws: Draws, ids: Tensor, step: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """APGD's random start: a random direction scaled to length `eps`, then clipped to [0, 1]."""
    size = x[0].numel()
    if norm == "Linf":
        delta = draws.uniform(ids, step, size) * 2 - 1
        length = delta.abs().amax(1)
    else:
        delta = draws.normal(ids, step, size)
        length = l2(delta)
    return (x + (delta / length[:, None].clamp_min(_TINY) * eps).reshape(x.shape)).clamp(0, 1)
