"""What a short attack costs, and what the draws of a sample are thought to save by it, in passes."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.evidence import SCOUTS, full_steps, length_of
from robaudit.plan import AUTOATTACK, AuditPlan
from robaudit.stats import draws_wanted

#: Model passes of one step of an attack, both ways; a query of Square is one.
_PASSES = {"square": 1, "fab": 3, "fab-t": 3}
#: The part of the candidates that is thought to break when it is asked how many draws a break costs.
_BREAKING = 0.005


def survivors_passes(plan: AuditPlan, attack: str, classes: int) -> int:
    """Model passes of an attack on one example that survives it."""
    return full_steps(plan, attack, classes) * _PASSES.get(attack, 2) * plan.eot


@dataclass(frozen=True)
class Prices:
    """Of one audit to a stated precision.

    Args:
        plan: with `within`.
        examples: that are audited.
        classes: of the model.

    """

    plan: AuditPlan
    examples: int
    classes: int

    def cost(self, scout: str) -> int:
        """Passes of a beginning on an example that survives it."""
        steps = length_of(scout, self.plan, self.classes)
        return steps * _PASSES.get(SCOUTS[scout], 2) * self.plan.eot

    def saved(self, candidates: int, before: float, after: float) -> float:
        """Passes that the draws take less, if of the candidates so many would break before and after."""
        return (
            self._draws(candidates, before) - self._draws(candidates - round(before - after), after)
        ) * self.whole

    def worth(self, candidates: int) -> float:
        """Passes that the draws take less for each break found, where one candidate in two hundred breaks."""
        few = max(_BREAKING * candidates, 1.0)
        return self.saved(candidates, few, 0) / few

    def _draws(self, candidates: int, breaks: float) -> float:
        assert self.plan.within is not None
        return draws_wanted(max(candidates, 0), breaks, self.examples, self.plan.within, self.plan.confidence)

    @property
    def whole(self) -> int:
        """Passes that all of AutoAttack takes on an example that survives."""
        return sum(survivors_passes(self.plan, name, self.classes) for name in AUTOATTACK)
