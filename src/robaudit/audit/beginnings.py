"""The first steps of an attack: its budget is cut, all else is as it is, so what breaks the whole one breaks too."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robaudit.attacks import APGD, ATTACKS, Attack
from robaudit.evidence import SCOUT, SCOUT_NEAR, SCOUT_TARGETED
from robaudit.plan import AuditPlan
from robaudit.verdict.sampling import FIRST_QUERIES, FIRST_STEPS


@dataclass(frozen=True)
class Beginning:
    """How far it goes; None is as far as the plan's budget.

    Attributes:
        square_queries: Square's.
        targets: APGD-T's first targets.
        stop_after: of the steps of each of APGD's runs, whose lengths stay as they are.

    """

    square_queries: int | None = None
    targets: int | None = None
    stop_after: int | None = None

    def of(self, name: str, plan: AuditPlan) -> Attack:
        """The attack of this name with its budget so cut, and one restart."""
        budget = plan.budget
        short = replace(
            budget,
            square_queries=self.square_queries or budget.square_queries,
            targets=min(self.targets or budget.targets, budget.targets),
            restarts=1,
        )
        attack = ATTACKS[name](replace(plan, budget=short))
        return replace(attack, stop_after=self.stop_after) if isinstance(attack, APGD) else attack


def beginning_of(scout: str, steps: int, plan: AuditPlan) -> Beginning:
    """What `audit.within` ran under the name of a scout that took this many steps."""
    return {
        SCOUT: Beginning(square_queries=FIRST_QUERIES),
        SCOUT_TARGETED: Beginning(targets=1, stop_after=FIRST_STEPS),
        SCOUT_NEAR: Beginning(targets=max(steps // (plan.budget.apgd_steps + 1), 1)),
    }[scout]
