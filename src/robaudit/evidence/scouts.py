"""Beginnings of attacks under names of their own: `ROBUST` there means not broken so far. A break is the attack's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robaudit.plan import AuditPlan

#: Square's first queries.
SCOUT = "square-scout"
#: More of them; all of them.
SCOUT_MORE, SCOUT_QUERIES = "square-scout-more", "square-scout-whole"
#: APGD-T's first steps at the likeliest class; fewer at more classes; more at the likeliest again; some at every class.
SCOUT_TARGETED, SCOUT_WIDE = "apgd-t-scout", "apgd-t-scout-wide"
SCOUT_DEEP, SCOUT_EVERY = "apgd-t-scout-deep", "apgd-t-scout-every"
#: Whose beginning each is.
SCOUTS = {
    SCOUT: "square",
    SCOUT_MORE: "square",
    SCOUT_QUERIES: "square",
    SCOUT_TARGETED: "apgd-t",
    SCOUT_WIDE: "apgd-t",
    SCOUT_DEEP: "apgd-t",
    SCOUT_EVERY: "apgd-t",
}
#: Those that are made on the examples which came nearest to a break; of another one the outcome says `ROBUST` after 0
#: steps.
NEAREST = (SCOUT_DEEP, SCOUT_EVERY, SCOUT_MORE, SCOUT_QUERIES)
#: The fewest that these are made on, where there are so many candidates.
LEAST_NEAR = {SCOUT_DEEP: 64, SCOUT_EVERY: 64, SCOUT_MORE: 32, SCOUT_QUERIES: 8}
#: Where `early_stopping` keeps that these are through, and that a sample's draws ended with a policy's minimum.
SCOUTED, MINIMUM = "scouted", "minimum"
#: Square's queries; of the others all.
FIRST_QUERIES = 100
QUERIES = {SCOUT: FIRST_QUERIES, SCOUT_MORE: 300}
#: APGD-T's targets, and the steps at each. Of what its first 20 steps leave and it breaks later, half breaks within 8
#: steps at the second class or the third, and most of the rest later at the first (docs/results/within.md).
BEGINNINGS = {SCOUT_TARGETED: (1, 20), SCOUT_WIDE: (3, 8), SCOUT_DEEP: (1, 100), SCOUT_EVERY: (9, 30)}


def run_length(plan: AuditPlan) -> int:
    """The steps of one of APGD-T's runs, as outcomes count them: in L1 one more at each of three radii."""
    return plan.budget_of("apgd-t").apgd_steps + (3 if plan.threat.norm == "L1" else 1)


def begun(scout: str, plan: AuditPlan) -> tuple[int, int]:
    """APGD-T's targets and the steps of each run, as outcomes count them, that a scout takes; in L1 runs are whole."""
    targets, steps = BEGINNINGS[scout]
    length, most = run_length(plan), plan.budget_of("apgd-t").targets
    return min(targets, most), length if plan.threat.norm == "L1" else min(steps + 1, length)


def length_of(scout: str, plan: AuditPlan, classes: int) -> int:
    """The steps that an example which survives a scout has taken, as outcomes count them."""
    if SCOUTS[scout] == "square":
        budget = plan.budget_of("square")
        whole = budget.square_queries * budget.restarts
        return min(QUERIES.get(scout, whole), whole)
    targets, steps = begun(scout, plan)
    return steps * min(targets, max(classes - 1, 1))


def within_beginning(scout: str, steps: ArrayLike, plan: AuditPlan) -> NDArray[np.bool_]:
    """Whether what an attack broke after this many steps of its own, its beginning breaks as well."""
    counted = np.asarray(steps)
    if SCOUTS[scout] == "square":
        return np.asarray(counted <= QUERIES.get(scout, np.inf))
    targets, most = begun(scout, plan)
    run, step = np.divmod(counted - 1, run_length(plan))
    return np.asarray((run < targets) & (step < most))
