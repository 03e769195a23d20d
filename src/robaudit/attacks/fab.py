"""FAB and FAB-T, the fast adaptive boundary attack (Croce & Hein 2020, https://arxiv.org/abs/1907.02044).

FAB-T looks for the smallest perturbation that reaches the target class, FAB in each step for the nearest class. As part
of AutoAttack they succeed on an example as soon as that perturbation is no larger than eps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.apgd import ranked_targets
from robaudit.attacks.objectives import (
    Evaluation,
    Model,
    evaluate,
    forward,
    misclassified,
    nearly_misclassified,
    targeted_margin,
)
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples
from robaudit.devices import is_accelerator

# The paper's constants (Section 4): greatest bias towards the clean point, overshoot, backward step.
_ALPHA_MAX = 0.1
_OVERSHOOT = 1.05
_BACKWARD = 0.9
_NEWTON_STEPS = 40
#: A crossing up to this many eps away may be one inside the ball, had the search not been in half precision.
_CLOSE = 1.1


def project_onto_plane(x: Tensor, w: Tensor, shortfall: Tensor, norm: str) -> Tensor:
    """The smallest `norm`-perturbation of `x` inside [0, 1] that moves <w, x> by `shortfall`.

    Each coordinate moves in its helpful direction by min(t * scale, room), `scale` being 1 for Linf and |w| for
    L2, so the gain is a concave, increasing, piecewise linear function of the one unknown t. Newton's method
    from t = 0 never overshoots it and ends exactly after as many kinks as it has to pass; the paper's Section
    3.1 solves the same problem by sorting.

    Args:
        x: (n, d) in [0, 1].
        w: (n, d), the plane's normal.
        shortfall: (n,), how much <w, x> is to grow (shrink, where negative).
        norm: Linf or L2.

    Returns:
        (n, d); where the box cannot reach the plane, the move that comes closest to it.

    """
    # Scaled, so that the squares of small gradients do not vanish.
    largest = w.abs().amax(1).clamp_min(1e-38)
    w, shortfall = w / largest[:, None], shortfall / largest
    helpful = w.sign() * shortfall.sign()[:, None]
    room = torch.where(helpful > 0, 1 - x, x) * (w != 0)
    weight = w.abs()
    scale = torch.ones_like(w) if norm == "Linf" else weight
    goal = shortfall.abs()
    t = torch.zeros_like(goal)
    slope_terms = weight * scale
    # An accelerator would have to be waited for to learn whether more steps are needed.
    wait = not is_accelerator(x.device)
    for _ in range(_NEWTON_STEPS):
        reach = t[:, None] * scale
        missing = goal - (weight * torch.minimum(reach, room)).sum(1)
        slope = (slope_terms * (reach < room)).sum(1)
        advance = torch.where(slope > 0, missing / slope.clamp_min(1e-30), 0.0).clamp_min(0)
        t = t + advance
        if wait and not bool((advance > 1e-6 * t).any()):
            break
    return helpful * torch.minimum(t[:, None] * scale, room)


@dataclass
class FABState:
    """`x_now` is where the boundary is linearised next; `candidate` the last point that was tried."""

    x: Tensor
    y: Tensor
    target: Tensor
    x_now: Tensor
    candidate: Tensor
    iteration: Tensor
    fooled: Tensor
    near_miss: Tensor
    finished: Tensor
    nonfinite: Tensor


@dataclass(frozen=True)
class FAB:
    """FAB-T at the `targets` most likely other classes in turn."""

    norm: str
    eps: float
    steps: int = 100
    targets: int = 9
    restarts: int = 1
    seed: int = 0
    name: str = "fab-t"
    forwards: int = 2
    backwards: int = 1
    tries: int = 1

    def runs(self, classes: int) -> int:
        """Restarts times targets."""
        return self.restarts * min(self.targets, classes - 1)

    def start(self, examples: Examples, run: Tensor) -> FABState:
        """From the clean point; further restarts from a random point at half the radius."""
        x, n = examples.x, len(examples)
        targets = min(self.targets, examples.logits.shape[1] - 1)
        sphere = geometry.start_on_sphere(
            Draws(self.seed, self.name), examples.ids, run, x, self.eps / 2, self.norm
        )
        x_now = torch.where(geometry.per_row(run >= targets, x), sphere, x)
        flag = torch.zeros(n, dtype=torch.bool, device=x.device)
        return FABState(
            x=x,
            y=examples.y,
            target=ranked_targets(examples.logits, examples.y, run % targets),
            x_now=x_now,
            candidate=x_now.clone(),
            iteration=torch.zeros(n, dtype=torch.int64, device=x.device),
            fooled=flag,
            near_miss=flag.clone(),
            finished=flag.clone(),
            nonfinite=flag.clone(),
        )

    def step(self, model: Model, s: FABState, tries: int = 1) -> FABState:
        """Linearise at `x_now`, project, move with a bias to the clean point, and look at what was reached."""
        return self._follow(model, s, self._linearised(model, s))

    def _linearised(self, model: Model, s: FABState) -> Evaluation:
        """The margin that the step is to bring to 0, and its gradient, at `x_now`."""
        return evaluate(model, s.x_now, lambda logits: targeted_margin(logits, s.y, s.target))

    def _follow(self, model: Model, s: FABState, result: Evaluation) -> FABState:
        w = result.gradient.flatten(1)
        now, clean = s.x_now.flatten(1), s.x.flatten(1)
        gap = torch.where(result.loss.isfinite(), -result.loss, 0.0)
        # Both projections are onto the plane on which the linearised margin is 0.
        from_now = project_onto_plane(now, w, gap, self.norm)
        from_clean = project_onto_plane(clean, w, gap + (w * (now - clean)).sum(1), self.norm)
        size_now = geometry.distance(from_now, torch.zeros_like(now), self.norm).clamp_min(1e-8)
        size_clean = geometry.distance(from_clean, torch.zeros_like(now), self.norm).clamp_min(1e-8)
        alpha = (size_now / (size_now + size_clean)).clamp(0, _ALPHA_MAX)[:, None]
        tried = (now + _OVERSHOOT * from_now) * (1 - alpha) + (clean + _OVERSHOOT * from_clean) * alpha
        x_tried = tried.clamp(0, 1).reshape(s.x.shape)

        logits = forward(model, x_tried)
        crossed = misclassified(logits, s.y)
        pulled_back = s.x + _BACKWARD * (x_tried - s.x)
        # A hair over eps still counts: the seal puts the point inside, and the re-check decides.
        reach = self.eps * (1 + 1e-5)
        distance = geometry.distance(x_tried, s.x, self.norm)
        near = distance <= reach
        # FAB also walks outside the ball; what the model answers there is not held against it.
        silent = ~result.logits.isfinite().all(1) & (geometry.distance(s.x_now, s.x, self.norm) <= reach)
        silent |= ~logits.isfinite().all(1) & near
        return FABState(
            x=s.x,
            y=s.y,
            target=s.target,
            x_now=torch.where(geometry.per_row(crossed, s.x), pulled_back, x_tried),
            candidate=x_tried,
            iteration=s.iteration + 1,
            fooled=crossed & near,
            near_miss=s.near_miss | (nearly_misclassified(logits, s.y) & (distance <= _CLOSE * self.eps)),
            finished=s.iteration + 1 >= self.steps,
            nonfinite=s.nonfinite | silent,
        )


@dataclass(frozen=True)
class NearestFAB(FAB):
    """FAB: each step goes to the class whose linearised boundary is nearest, of the `targets` likeliest others.

    The reference looks at all classes; with more than ten that costs as many backward passes a step.
    """

    name: str = "fab"

    def __post_init__(self) -> None:
        object.__setattr__(self, "forwards", self.targets + 1)
        object.__setattr__(self, "backwards", self.targets)

    def runs(self, classes: int) -> int:
        """One a restart."""
        return self.restarts

    def start(self, examples: Examples, run: Tensor) -> FABState:
        """As FAB-T; the second and further runs are restarts. `target` says which classes come into question."""
        targets = min(self.targets, examples.logits.shape[1] - 1)
        state = super().start(examples, run * targets)
        ranks = torch.arange(targets, device=run.device).expand(len(examples), targets)
        return replace(state, target=ranked_targets(examples.logits, examples.y, ranks))

    def _linearised(self, model: Model, s: FABState) -> Evaluation:
        nearest: Evaluation | None = None
        least = torch.full(s.y.shape, float("inf"), device=s.x.device)
        for rival in s.target.unbind(1):
            found = evaluate(model, s.x_now, partial(targeted_margin, y=s.y, target=rival))
            slope = geometry.dual_norm(found.gradient, self.norm)
            away = torch.where(slope > 0, found.loss.abs() / slope.clamp_min(1e-30), float("inf"))
            closer = away < least
            if nearest is None:
                nearest = found
            else:
                nearest = Evaluation(
                    found.logits,
                    torch.where(closer, found.loss, nearest.loss),
                    torch.where(geometry.per_row(closer, s.x), found.gradient, nearest.gradient),
                )
            least = torch.where(closer, away, least)
        assert nearest is not None
        return nearest
