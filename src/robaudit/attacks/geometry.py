"""The ball of the threat model cut with [0, 1]: project, start, measure.

Inputs are `(n, C, H, W)` in [0, 1]; `eps` is a radius in the same units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.randomness import Draws
from robaudit.devices import in_double, is_accelerator

_TINY = 1e-12
_ORDERS = {"Linf": float("inf"), "L2": 2.0, "L1": 1.0}
#: The norm that says how much a unit of perturbation can change a linear loss.
DUAL = {"Linf": "L1", "L2": "L2", "L1": "Linf"}
#: Steepest ascent in L1 would move one coordinate; this share of them is moved (Tramer & Boneh 2019,
#: https://arxiv.org/abs/1904.13000, Section 3).
_SPARSE = 0.01
#: Steps of the search for a threshold; it doubles its precision in each at least, and ends exactly in a few.
_SEARCH_STEPS = 60
#: And is over this close to the radius, as a share of it: float32 cannot tell a sum of 3,072 numbers better.
_CLOSE = 3e-6


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """(n,) shaped so that it broadcasts against `like`, (n, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def l2(x: Tensor) -> Tensor:
    """The Euclidean norm of each row, (n,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def distance(x_adv: Tensor, x: Tensor, norm: str) -> Tensor:
    """The size of each row's perturbation in `norm`, (n,)."""
    return torch.linalg.vector_norm((x_adv - x).flatten(1), ord=_ORDERS[norm], dim=1)


def dual_norm(gradient: Tensor, norm: str) -> Tensor:
    """The norm dual to `norm` of each row, (n,): how much a unit of perturbation can change the loss."""
    return torch.linalg.vector_norm(gradient.flatten(1), ord=_ORDERS[DUAL[norm]], dim=1)


def steepest(gradient: Tensor, at: Tensor, norm: str) -> Tensor:
    """The unit step of steepest ascent: the sign for Linf, the normalised gradient for L2, few entries for L1.

    In L1 (SLIDE, https://arxiv.org/abs/1904.13000) what the box stops is left out: the few would be stuck there.

    Args:
        gradient: (n, C, H, W).
        at: (n, C, H, W) in [0, 1], the points that the steps are made from.
        norm: Linf, L2 or L1.

    """
    if norm == "Linf":
        return gradient.sign()
    if norm == "L1":
        stopped = ((at <= 0) & (gradient < 0)) | ((at >= 1) & (gradient > 0))
        gradient = gradient.masked_fill(stopped, 0.0)
        return sparse_step(gradient, torch.full((len(gradient),), _SPARSE, device=gradient.device))
    # Divided by its largest entry first: a gradient of 1e-30 has a direction, but its square is 0.
    scaled = gradient / per_row(gradient.flatten(1).abs().amax(1).clamp_min(1e-38), gradient)
    return scaled / per_row(l2(scaled).clamp_min(_TINY), gradient)


def sparse_step(gradient: Tensor, share: Tensor) -> Tensor:
    """The signs of each row's largest entries, scaled to an L1 norm of 1.

    Args:
        gradient: (n, C, H, W).
        share: (n,) in [0, 1], of the entries; at least one is taken.

    """
    size = gradient.abs().flatten(1)
    count = (share * size.shape[1]).long().clamp(1, size.shape[1])
    ranked = size.sort(dim=1, descending=True).values
    least = ranked.gather(1, count[:, None] - 1)
    signs = gradient.flatten(1).sign() * (size >= least)
    return (signs / signs.abs().sum(1, keepdim=True).clamp_min(1)).reshape(gradient.shape)


def project_l1(x_adv: Tensor, x: Tensor, eps: float | Tensor) -> Tensor:
    """The nearest point, in L2, of the L1 ball around `x` cut with [0, 1] (arXiv:2103.01208, Section 3).

    With u = x_adv - x and r the room that [0, 1] leaves in its direction, it is x + sign(u) clamp(|u| - t, 0, r), where
    t >= 0 is the least that brings the sum within eps: the zero of a falling, piecewise linear function of t. Newton's
    steps, and halving where one leaves the interval known to hold it, end exactly.

    Args:
        x_adv: (n, C, H, W).
        x: (n, C, H, W) in [0, 1].
        eps: the radius, or (n,).

    """
    u, clean = (x_adv - x).flatten(1), x.flatten(1)
    length, room = u.abs(), torch.where(u > 0, 1 - clean, clean)
    radius = torch.as_tensor(eps, device=u.device, dtype=u.dtype).expand(len(u))
    t = torch.zeros_like(radius)
    low, high = t.clone(), length.amax(1)
    wait = not is_accelerator(x.device)
    for _ in range(_SEARCH_STEPS):
        moved = length - t[:, None]
        excess = torch.minimum(moved.clamp_min(0), room).sum(1) - radius
        settled = (excess.abs() <= _CLOSE * radius) | ((t == 0) & (excess <= 0))
        if wait and bool(settled.all()):
            break
        low, high = torch.where(excess > 0, t, low), torch.where(excess > 0, high, t)
        slope = ((moved > 0) & (moved < room)).sum(1)
        newton = t + excess / slope.clamp_min(1)
        good = (slope > 0) & (newton > low) & (newton < high)
        t = torch.where(settled, t, torch.where(good, newton, (low + high) / 2))
    kept = torch.minimum((length - t[:, None]).clamp_min(0), room)
    return (x + (u.sign() * kept).reshape(x.shape)).clamp(0, 1)


def project(x_adv: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """The point of the ball around `x` cut with [0, 1] that the attacks continue from."""
    if norm == "Linf":
        return torch.minimum(torch.maximum(x_adv, x - eps), x + eps).clamp(0, 1)
    if norm == "L1":
        return project_l1(x_adv, x, eps)
    delta = x_adv - x
    shrink = (eps / l2(delta).clamp_min(_TINY)).clamp_max(1)
    return (x + delta * per_row(shrink, x)).clamp(0, 1)


def start_in_ball(draws: Draws, ids: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """Uniform in the ball (PGD's random start, https://arxiv.org/abs/1706.06083), then clipped to [0, 1]."""
    size = x[0].numel()
    if norm == "Linf":
        delta = (draws.uniform(ids, 0, size) * 2 - 1) * eps
    else:
        if norm == "L2":
            direction = draws.normal(ids, 0, size)
        else:  # exponential lengths of random signs point uniformly over the L1 sphere
            direction = -torch.log1p(-draws.uniform(ids, 0, size)) * draws.signs(ids, 2, size)
        radius = in_double(draws.uniform(ids, 1, 1)).pow(1 / size).to(x.device, x.dtype)
        length = torch.linalg.vector_norm(direction, ord=_ORDERS[norm], dim=1)
        delta = direction / length[:, None].clamp_min(_TINY) * radius * eps
    return (x + delta.reshape(x.shape)).clamp(0, 1)


def start_on_sphere(draws: Draws, ids: Tensor, step: Tensor, x: Tensor, eps: float, norm: str) -> Tensor:
    """APGD's random start: a random direction scaled to length `eps`, then clipped to [0, 1]."""
    size = x[0].numel()
    if norm == "Linf":
        delta = draws.uniform(ids, step, size) * 2 - 1
        length = delta.abs().amax(1)
    else:
        delta = draws.normal(ids, step, size)
        length = torch.linalg.vector_norm(delta, ord=_ORDERS[norm], dim=1)
    return (x + (delta / length[:, None].clamp_min(_TINY) * eps).reshape(x.shape)).clamp(0, 1)
