"""How well PGD converged: FOSC and SGCS, per example, from PGD's own trajectory.

FOSC: Wang et al. 2019 (https://proceedings.mlr.press/v97/wang19i.html); SGCS: Lee et al. 2021
(https://doi.org/10.1109/ACCESS.2020.3048120); both as in Li et al., Equations 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.devices import in_double

_DUAL_ORDERS = {"Linf": 1.0, "L2": 2.0, "L1": float("inf")}


@dataclass(frozen=True)
class Fosc:
    """`raw` (n,) >= 0 in units of the loss; `normalised` (n,) in [0, 2]: 0 converged, 1 no better than the centre."""

    raw: Tensor
    normalised: Tensor


def fosc(gradient: Tensor, x_k: Tensor, x: Tensor, norm: str, eps: float) -> Fosc:
    """First-order stationary condition (Equation 2), by the closed form of Appendix E.

    max over |d| <= eps of <x + d - x_k, g> is eps |g|* - <x_k - x, g>, with the norm dual to the ball's: |g|_1 for
    Linf, |g|_2 for L2, max |g| for L1. Divided by eps |g|* it no longer depends on the loss's scale; a zero
    gradient gives 0.

    Args:
        gradient: (n, C, H, W), of each example's cross-entropy at `x_k`.
        x_k: (n, C, H, W), PGD's last iterate.
        x: (n, C, H, W), the clean inputs.
        norm: Linf, L2 or L1.
        eps: the radius.

    """
    g = in_double(gradient.flatten(1))
    dual = torch.linalg.vector_norm(g, ord=_DUAL_ORDERS[norm], dim=1)
    reached = ((in_double(x_k) - in_double(x)).flatten(1) * g).sum(1)
    raw = (eps * dual - reached).clamp_min(0)
    most = eps * dual
    return Fosc(raw, torch.where(most > 0, raw / most.clamp_min(1e-300), 0.0))


def sgcs(direction_sum: Tensor, directions: Tensor, steps: int) -> Tensor:
    """Step-wise gradient cosine similarity (Equation 3) of each example, (n,) in [-1, 1].

    With u_i the unit vector of sign(g_i), the sum over pairs i != j of <u_i, u_j> is |sum u_i|^2 - sum |u_i|^2, so
    the running sum is all one has to keep. A zero gradient is similar to nothing.

    Args:
        direction_sum: (n, C, H, W), the sum of the unit vectors over PGD's `steps` steps.
        directions: (n,), how many of them were not zero.
        steps: k of the equation.

    """
    if steps < 2:
        return in_double(torch.ones_like(directions))
    total = in_double(direction_sum.flatten(1)).square().sum(1)
    return (total - directions.to(total.device)) / (steps * (steps - 1))
