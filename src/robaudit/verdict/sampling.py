"""AutoAttack's number from a sample: which examples may survive, which of them were drawn, and what that says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import SCOUT_NEAR, SCOUT_TARGETED, Evidence, Outcome
from robaudit.stats import Interval, sampled_share

Bools = NDArray[np.bool_]
#: Where `early_stopping` keeps that the short attacks are through, and how many candidates got more of them.
SCOUTED, NEAR = "scouted", "near"
#: Likewise the steps of the last number of targets that these got; who did not get so far was broken on the way.
NEAR_STEPS = "near_steps"
#: Square's queries, and APGD-T's steps at the likeliest class, that every example gets: the breaks that APGD-T finds in
#: twice as many cost more than they save.
FIRST_QUERIES, FIRST_STEPS = 100, 20
#: The part of the candidates that gets more, and how many of APGD-T's targets, one number after the other.
NEAR_SHARE, NEAR_TARGETS = 0.25, (2, 5)


def passed(evidence: Evidence, scout: str, steps: int = 0) -> Bools:
    """(n,) bool: not broken by these first steps of an attack, of which there were at least `steps`."""
    record = evidence.attacks.get(scout)
    if record is None:
        return np.zeros(len(evidence), dtype=bool)
    return np.asarray((record.outcome != Outcome.NOT_RUN) & (record.steps >= steps))


def nearest(evidence: Evidence, count: int) -> Bools:
    """(n,) bool: of those that passed the first steps, the `count` closest to being broken, by PGD-10's FOSC.

    The cross-entropy's gradient, and FOSC with it, grows with the probability of a wrong class (Equation 3).
    """
    rows = np.flatnonzero(passed(evidence, SCOUT_TARGETED))
    order = np.lexsort((evidence.ids[rows], -np.nan_to_num(evidence.fosc[rows])))
    found = np.zeros(len(evidence), dtype=bool)
    found[rows[order[:count]]] = True
    return found


def candidates(evidence: Evidence) -> Bools | None:
    """(n,) bool: the examples that the short attacks left; None where these have not been through all."""
    state = evidence.header.early_stopping
    if not state.get(SCOUTED):
        return None
    left = passed(evidence, SCOUT_TARGETED)
    near = nearest(evidence, state.get(NEAR, 0))
    return left & (~near | passed(evidence, SCOUT_NEAR, state.get(NEAR_STEPS, 0)))


def drawn(evidence: Evidence, among: Bools) -> Bools:
    """(n,) bool: the candidates before the first that AutoAttack is still to be run on; their order is random."""
    reached = np.logical_and.accumulate(~(among & evidence.open("autoattack")))
    return np.asarray(among & reached)


def estimate(evidence: Evidence) -> Interval | None:
    """AutoAttack's robust accuracy of all audited examples; None where it cannot be had from a sample."""
    among = candidates(evidence)
    if among is None:
        return None
    here = drawn(evidence, among)
    return sampled_share(
        evidence.survives("autoattack")[here],
        (evidence.correct & ~evidence.broken("autoattack"))[here],
        int(among.sum()),
        len(evidence),
        evidence.header.plan.confidence,
    )
