"""APGD in the L1 ball (Croce & Hein 2021, https://arxiv.org/abs/2103.01208, Algorithm 1 and Section 3.3).

Steps move the pixels of the largest gradient entries only, how many is learnt from the best point so far, and the
iterate is projected onto the L1 ball cut with [0, 1] exactly. The search begins at three times the radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.apgd import APGD, APGDState
from robaudit.attacks.objectives import Model, evaluate, margin, misclassified, nearly_misclassified
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples

# The paper's constants: radii and the shares of all steps at each; of how many pixels at most the best point must move
# for the step to be the largest again, how a step shrinks otherwise, and how far; steps between two checks as a share.
_RADII, _SHARES = (3.0, 2.0, 1.0), (0.3, 0.3)
_SPARSER, _SHRINK, _SMALLEST = 0.95, 1.5, 0.1
_CHECK = 0.04
#: What float32 may leave of a projected point outside the ball; the seal brings it inside, and the re-check decides.
_REACH = 1 + 1e-4


@dataclass
class APGDL1State(APGDState):
    """`sparsity` (n,): the share of entries that steps move; `moved` (n,): how many the best point moved last time."""

    sparsity: Tensor
    moved: Tensor


@dataclass(frozen=True)
class APGDL1(APGD):
    """APGD on `loss` in the L1 ball; `steps` in all, and an evaluation where each of the three radii begins."""

    norm: str = "L1"
    eps: float = 12.0

    def _begins(self) -> tuple[int, int, int]:
        """The evaluations before which each radius begins, and how many there are in all."""
        first, second = (math.ceil(share * self.steps) for share in _SHARES)
        return first + 1, first + second + 2, self.steps + 3

    def _stage(self, iteration: Tensor) -> Tensor:
        second, third, _ = self._begins()
        return (iteration >= second).long() + (iteration >= third).long()

    def _radius(self, stage: Tensor) -> Tensor:
        return self.eps * torch.tensor(_RADII, device=stage.device)[stage]

    def start(self, examples: Examples, run: Tensor) -> APGDL1State:
        """A random point of the largest ball."""
        state = super().start(examples, run)
        x, size = examples.x, examples.x[0].numel()
        noise = Draws(self.seed, self.name).normal(examples.ids, run, size).reshape(x.shape)
        begun = geometry.project_l1(x + noise, x, _RADII[0] * self.eps)
        moved = _pixels(begun, x)
        kept = {item.name: getattr(state, item.name) for item in fields(state)}
        points = {name: begun.clone() for name in ("candidate", "x_next", "x_old", "x_best")}
        step_size = torch.full_like(state.step_size, _RADII[0] * self.eps)
        return APGDL1State(
            **kept | points | {"step_size": step_size}, sparsity=moved / size / _SHRINK, moved=moved
        )

    def step(self, model: Model, s: APGDState, tries: int = 1) -> APGDL1State:
        """Evaluate the next iterate, keep the best point of this radius, adapt step size and sparsity, move."""
        assert isinstance(s, APGDL1State)
        result = evaluate(model, s.x_next, lambda logits: self._objective(logits, s))
        second, third, end = self._begins()
        first = (s.iteration == 0) | (s.iteration == second) | (s.iteration == third)
        better = first | (result.loss > s.loss_best)
        image = geometry.per_row(better, s.x)
        x_best = torch.where(image, s.x_next, s.x_best)
        gradient_best = torch.where(image, result.gradient, s.gradient_best)

        stage = self._stage(s.iteration)
        radius = self._radius(stage)
        since = torch.where(first, 0, s.since_check + 1)
        check = since == self._stretches(stage)
        moved = _pixels(x_best, s.x)
        sparser = check & (moved < _SPARSER * s.moved)
        shrunk = torch.maximum(s.step_size / _SHRINK, _SMALLEST * radius)
        step_size = torch.where(sparser, radius, torch.where(check, shrunk, s.step_size))
        sparsity = torch.where(check, moved / s.x[0].numel() / _SHRINK, s.sparsity)
        back = geometry.per_row(sparser, s.x)
        x_from = torch.where(back, x_best, s.x_next)
        gradient = torch.where(back, gradient_best, result.gradient)

        # At the end of a radius the search goes on from its best point, inside the next one.
        following = s.iteration + 1
        over = (following == second) | (following == third)
        next_radius = self._radius(self._stage(following))
        stepped = x_from + geometry.per_row(step_size, s.x) * geometry.sparse_step(gradient, sparsity)
        x_next = geometry.project_l1(
            torch.where(geometry.per_row(over, s.x), x_best, stepped), s.x, next_radius
        )
        afresh = _pixels(x_next, s.x)
        within = geometry.distance(s.x_next, s.x, "L1") <= _REACH * self.eps
        kept = {item.name: getattr(s, item.name) for item in fields(s)}
        return APGDL1State(
            **kept
            | {
                "candidate": s.x_next,
                "x_next": x_next,
                "x_best": x_best,
                "gradient_best": gradient_best,
                "loss_best": torch.where(better, result.loss, s.loss_best),
                "since_check": torch.where(check, 0, since),
                "step_size": torch.where(over, next_radius, step_size),
                "sparsity": torch.where(over, afresh / s.x[0].numel() / _SHRINK, sparsity),
                "moved": torch.where(over, afresh, torch.where(check, moved, s.moved)),
                "iteration": following,
                "fooled": within & misclassified(result.logits, s.y),
                "near_miss": s.near_miss | (within & nearly_misclassified(result.logits, s.y)),
                "closest": torch.where(within, torch.fmax(s.closest, margin(result.logits, s.y)), s.closest),
                "finished": following >= end,
                "nonfinite": s.nonfinite | (within & ~result.logits.isfinite().all(1)),
            }
        )

    def _stretches(self, stage: Tensor) -> Tensor:
        """Steps between two checks at each radius."""
        second, third, end = self._begins()
        steps = (second - 1, third - second - 1, end - third - 1)
        return torch.tensor([max(int(_CHECK * count), 1) for count in steps], device=stage.device)[stage]


def _pixels(x_adv: Tensor, x: Tensor) -> Tensor:
    """(n,) float: how many values differ."""
    return (x_adv != x).flatten(1).sum(1).to(x.dtype)
