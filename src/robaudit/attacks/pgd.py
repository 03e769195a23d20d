"""Projected gradient descent on the cross-entropy (https://arxiv.org/abs/1706.06083), judged at its last iterate.

This is the usual white-box test: a random start in the ball, `steps` steps of a fixed size, and the accuracy
at the last point. The state also carries what FOSC and SGCS need, so that they cost no further attack.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.objectives import (
    Model,
    cross_entropy,
    evaluate,
    margin,
    misclassified,
    nearly_misclassified,
)
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples


@dataclass
class PGDState:
    """`candidate` is the current iterate; `gradient` the one at it, once `finished`.

    `direction_sum` (n, C, H, W) adds up sign(g) / |sign(g)|_2 over the steps, which is all that SGCS needs of the
    trajectory; `directions` (n,) counts the gradients among them that were not zero.
    """

    x: Tensor
    y: Tensor
    candidate: Tensor
    gradient: Tensor
    direction_sum: Tensor
    directions: Tensor
    iteration: Tensor
    fooled: Tensor
    near_miss: Tensor
    finished: Tensor
    nonfinite: Tensor


@dataclass(frozen=True)
class PGD:
    """PGD-`steps` with `step_size` in pixel units on the `loss`, ce or margin, from within `start_eps` if given."""

    norm: str
    eps: float
    step_size: float
    steps: int = 10
    seed: int = 0
    name: str = "pgd10"
    forwards: int = 1
    backwards: int = 1
    tries: int = 1
    start_eps: float | None = None
    loss: str = "ce"

    def runs(self, classes: int) -> int:  # noqa: D102
        return 1

    def start(self, examples: Examples, run: Tensor) -> PGDState:
        """A random start in the ball."""
        x, n = examples.x, len(examples)
        draws, radius = Draws(self.seed, self.name), self.start_eps or self.eps
        x_adv = geometry.start_in_ball(draws, examples.ids, x, radius, self.norm)
        flag = torch.zeros(n, dtype=torch.bool, device=x.device)
        zeros = torch.zeros(n, dtype=torch.int64, device=x.device)
        image = torch.zeros_like(x)
        return PGDState(
            x=x,
            y=examples.y,
            candidate=x_adv,
            gradient=image,
            direction_sum=image.clone(),
            directions=zeros,
            iteration=zeros.clone(),
            fooled=flag,
            near_miss=flag.clone(),
            finished=flag.clone(),
            nonfinite=flag.clone(),
        )

    def step(self, model: Model, state: PGDState, tries: int = 1) -> PGDState:
        """Evaluate the iterate, then move on from it unless it is the last."""
        objective = cross_entropy if self.loss == "ce" else margin
        result = evaluate(model, state.candidate, lambda logits: objective(logits, state.y))
        last = state.iteration >= self.steps
        sign = result.gradient.sign()
        length = geometry.l2(sign)
        unit = sign / geometry.per_row(length.clamp_min(1), sign)
        uphill = geometry.steepest(result.gradient, state.candidate, self.norm)
        moved = geometry.project(
            state.candidate + self.step_size * uphill,
            state.x,
            self.eps,
            self.norm,
        )
        stay = geometry.per_row(last, moved)
        return PGDState(
            x=state.x,
            y=state.y,
            candidate=torch.where(stay, state.candidate, moved),
            gradient=result.gradient,
            direction_sum=torch.where(stay, state.direction_sum, state.direction_sum + unit),
            directions=state.directions + (~last & (length > 0)),
            iteration=state.iteration + 1,
            fooled=last & misclassified(result.logits, state.y),
            near_miss=last & nearly_misclassified(result.logits, state.y),
            finished=last,
            nonfinite=state.nonfinite | ~result.logits.isfinite().all(1),
        )
