"""Auto-PGD (Croce & Hein 2020, https://arxiv.org/abs/2003.01690, Algorithm 1), untargeted and targeted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.objectives import (
    Model,
    cross_entropy,
    dlr,
    evaluate,
    margin,
    misclassified,
    nearly_misclassified,
    targeted_dlr,
)
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples

# The paper's constants (Section 3.1): first step 2 eps, momentum 0.75, rho 0.75, and the lengths of the
# stretches between two checkpoints as shares of all steps: the first, how much each is shorter, the least.
_FIRST_STEP = 2.0
_MOMENTUM = 0.75
_RHO = 0.75
_STRETCH, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06


@dataclass
class APGDState:
    """`candidate` is the iterate just evaluated, `x_next` the one to evaluate next, `x_old` the one before."""

    x: Tensor
    y: Tensor
    target: Tensor
    candidate: Tensor
    x_next: Tensor
    x_old: Tensor
    x_best: Tensor
    gradient_best: Tensor
    loss_best: Tensor
    loss_last: Tensor
    loss_best_at_check: Tensor
    rises: Tensor
    stretch: Tensor
    since_check: Tensor
    halved_at_check: Tensor
    step_size: Tensor
    iteration: Tensor
    fooled: Tensor
    near_miss: Tensor
    closest: Tensor
    finished: Tensor
    nonfinite: Tensor


def ranked_targets(logits: Tensor, y: Tensor, rank: Tensor) -> Tensor:
    """The class with the `rank`-th highest clean logit (0 is the runner-up) among those other than `y`.

    `rank` is (n,), or (n, m) for several of each.
    """
    others = logits.scatter(1, y[:, None], float("-inf"))
    order = others.argsort(dim=1, descending=True, stable=True)
    return order.gather(1, rank.reshape(len(rank), -1)).reshape(rank.shape)


@dataclass(frozen=True)
class APGD:
    """APGD on `loss`: `ce`, `dlr`, or `dlr-targeted` at the `targets` most likely other classes in turn.

    With `stop_after` each run ends after that many of its `steps`, whose lengths stay as they are.
    """

    norm: str
    eps: float
    loss: str = "ce"
    steps: int = 100
    targets: int = 9
    restarts: int = 1
    seed: int = 0
    stop_after: int | None = None
    name: str = "apgd-ce"
    forwards: int = 1
    backwards: int = 1
    tries: int = 1

    def _targets(self, classes: int) -> int:
        return min(self.targets, classes - 1) if self.loss == "dlr-targeted" else 1

    def runs(self, classes: int) -> int:
        """Restarts, times targets where the loss has one."""
        return self.restarts * self._targets(classes)

    def start(self, examples: Examples, run: Tensor) -> APGDState:
        """A random start on the sphere; its target is the one whose turn it is in `run`."""
        x, y, n = examples.x, examples.y, len(examples)
        target = ranked_targets(examples.logits, y, run % self._targets(examples.logits.shape[1]))
        x_adv = geometry.start_on_sphere(
            Draws(self.seed, self.name), examples.ids, run, x, self.eps, self.norm
        )
        lowest = torch.full((n,), float("-inf"), device=x.device)
        zeros = torch.zeros(n, dtype=torch.int64, device=x.device)
        flag = torch.zeros(n, dtype=torch.bool, device=x.device)
        return APGDState(
            x=x,
            y=y,
            target=target,
            candidate=x_adv,
            x_next=x_adv.clone(),
            x_old=x_adv.clone(),
            x_best=x_adv.clone(),
            gradient_best=torch.zeros_like(x),
            loss_best=lowest,
            loss_last=lowest.clone(),
            loss_best_at_check=lowest.clone(),
            rises=zeros,
            stretch=zeros + max(int(_STRETCH * self.steps), 1),
            since_check=zeros.clone(),
            halved_at_check=~flag,
            step_size=torch.full((n,), _FIRST_STEP * self.eps, device=x.device),
            iteration=zeros.clone(),
            fooled=flag,
            near_miss=flag.clone(),
            closest=lowest.clone(),
            finished=flag.clone(),
            nonfinite=flag.clone(),
        )

    def _objective(self, logits: Tensor, state: APGDState) -> Tensor:
        if self.loss == "ce":
            return cross_entropy(logits, state.y)
        return dlr(logits, state.y) if self.loss == "dlr" else targeted_dlr(logits, state.y, state.target)

    def step(self, model: Model, s: APGDState, tries: int = 1) -> APGDState:
        """Evaluate the next iterate, keep the best point, adapt the step size at checkpoints, move."""
        result = evaluate(model, s.x_next, lambda logits: self._objective(logits, s))
        first = s.iteration == 0
        better = first | (result.loss > s.loss_best)
        image = geometry.per_row(better, s.x)
        x_best = torch.where(image, s.x_next, s.x_best)
        gradient_best = torch.where(image, result.gradient, s.gradient_best)
        loss_best = torch.where(better, result.loss, s.loss_best)

        # Conditions 1 and 2 of Section 3.1, at the checkpoints only.
        rises = s.rises + (~first & (result.loss > s.loss_last))
        since = s.since_check + ~first
        check = since == s.stretch
        at_check = torch.where(first, loss_best, s.loss_best_at_check)
        halve = check & ((rises <= _RHO * s.stretch) | (~s.halved_at_check & (at_check >= loss_best)))
        step_size = torch.where(halve, s.step_size / 2, s.step_size)
        back = geometry.per_row(halve, s.x)
        x_from = torch.where(back, x_best, s.x_next)
        gradient = torch.where(back, gradient_best, result.gradient)

        shorter = (s.stretch - max(int(_SHORTER * self.steps), 1)).clamp_min(
            max(int(_SHORTEST * self.steps), 1)
        )
        return APGDState(
            x=s.x,
            y=s.y,
            target=s.target,
            candidate=s.x_next,
            x_next=self._move(s, x_from, gradient, step_size),
            x_old=x_from,
            x_best=x_best,
            gradient_best=gradient_best,
            loss_best=loss_best,
            loss_last=result.loss,
            loss_best_at_check=torch.where(check, loss_best, at_check),
            rises=torch.where(check, 0, rises),
            stretch=torch.where(check, shorter, s.stretch),
            since_check=torch.where(check, 0, since),
            halved_at_check=torch.where(check, halve, s.halved_at_check),
            step_size=step_size,
            iteration=s.iteration + 1,
            fooled=misclassified(result.logits, s.y),
            near_miss=s.near_miss | nearly_misclassified(result.logits, s.y),
            closest=torch.fmax(s.closest, margin(result.logits, s.y)),
            finished=s.iteration >= (self.steps if self.stop_after is None else self.stop_after),
            nonfinite=s.nonfinite | ~result.logits.isfinite().all(1),
        )

    def _move(self, s: APGDState, x_from: Tensor, gradient: Tensor, step_size: Tensor) -> Tensor:
        """Equations 2 and 3 of the paper: a projected gradient step, then momentum, projected again."""
        size = geometry.per_row(step_size, s.x)
        stepped = geometry.project(
            x_from + size * geometry.steepest(gradient, x_from, self.norm), s.x, self.eps, self.norm
        )
        weight = geometry.per_row(torch.where(s.iteration == 0, 1.0, _MOMENTUM), s.x)
        blended = x_from + weight * (stepped - x_from) + (1 - weight) * (x_from - s.x_old)
        return geometry.project(blended, s.x, self.eps, self.norm)
