"""The first steps of an attack: its budget is cut, all else is as it is, so what breaks the whole one breaks too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from robaudit.attacks import APGD, ATTACKS, Attack, Retired
from robaudit.evidence import QUERIES, SCOUTS, Outcome, begun, run_length
from robaudit.plan import AuditPlan


@dataclass(frozen=True)
class Beginning:
    """How far it goes; None is as far as the plan's budget.

    Attributes:
        square_queries: Square's.
        targets: APGD-T's first targets.
        steps: of each of APGD's runs, as outcomes count them; the lengths of steps stay as they are.

    """

    square_queries: int | None = None
    targets: int | None = None
    steps: int | None = None

    def of(self, name: str, plan: AuditPlan) -> Attack:
        """The attack of this name with its budget so cut, and one restart."""
        budget = plan.budget_of(name)
        short = replace(
            budget,
            square_queries=self.square_queries or budget.square_queries,
            targets=self.targets or budget.targets,
            restarts=1,
        )
        attack = ATTACKS[name](replace(plan, budget=short, own={}))
        if self.steps is None or not isinstance(attack, APGD):
            return attack
        return replace(attack, stop_after=self.steps - 1)

    def numbered(self, retired: Retired, plan: AuditPlan) -> Retired:
        """The same, with the steps up to a break counted as the whole attack counts them."""
        if self.steps is None:
            return retired
        # What a run made again in float32 broke counts as broken at the end of the last run.
        counted = retired.steps.clamp(max=self.steps * (self.targets or 1)) - 1
        run, step = counted // self.steps, counted % self.steps
        broken = retired.outcome == int(Outcome.BROKEN)
        return replace(retired, steps=torch.where(broken, run * run_length(plan) + step + 1, retired.steps))


def beginning_of(scout: str, plan: AuditPlan) -> Beginning:
    """What is run under the name of a scout."""
    if SCOUTS[scout] == "square":
        return Beginning(square_queries=QUERIES.get(scout))
    targets, steps = begun(scout, plan)
    return Beginning(targets=targets, steps=steps)
