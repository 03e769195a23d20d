"""AutoAttack's robust accuracy from a sample: which examples may survive, which of them were drawn, what that says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import SCOUT, SCOUT_DEEP, SCOUT_TARGETED, SCOUT_WIDE, Evidence, Outcome
from robaudit.stats import Interval, sampled_share

Bools = NDArray[np.bool_]
#: Where `early_stopping` keeps that the short attacks are through.
SCOUTED = "scouted"
#: Likewise whether each of these was worth its price, and so made on every candidate: 0 or 1.
CHOSEN = {SCOUT_WIDE: "wide", SCOUT: "queried", SCOUT_DEEP: "deep"}


def passed(evidence: Evidence, scout: str) -> Bools:
    """(n,) bool: not broken by this beginning of an attack."""
    record = evidence.attacks.get(scout)
    if record is None:
        return np.zeros(len(evidence), dtype=bool)
    return np.asarray(record.outcome != Outcome.NOT_RUN)


def candidates(evidence: Evidence) -> Bools | None:
    """(n,) bool: the examples that the short attacks left; None where these have not been through all."""
    state = evidence.header.early_stopping
    if not state.get(SCOUTED):
        return None
    left = passed(evidence, SCOUT_TARGETED)
    for scout in (SCOUT_WIDE, SCOUT_DEEP):
        if state.get(CHOSEN[scout]):
            left = left & passed(evidence, scout)
    return left & ~evidence.broken_early(SCOUT) if state.get(CHOSEN[SCOUT]) else left


def drawn(evidence: Evidence, among: Bools, attack: str = "autoattack") -> Bools:
    """(n,) bool: the candidates before the first that the attack is still to be run on; their order is random."""
    reached = np.logical_and.accumulate(~(among & evidence.open(attack)))
    return np.asarray(among & reached)


def estimate(evidence: Evidence, attack: str = "autoattack") -> Interval | None:
    """The robust accuracy of all audited examples under an attack; None where it cannot be had from a sample.

    Of AutoAttack's only what the short attacks left is drawn from, of another attack's every correctly classified one.
    What survives all of AutoAttack survives each of its attacks. So the lower limit of one of these is AutoAttack's,
    whose sample is the larger, in place of its own: both spend the same part of the error. The attack whose number is
    asked for has a sample that is large enough, and keeps its own.
    """
    among = candidates(evidence)
    if among is None:
        return None
    if attack == "autoattack":
        return _from_sample(evidence, attack, among)
    if not drawn(evidence, evidence.correct, attack).any():
        return None
    found = _from_sample(evidence, attack, evidence.correct)
    if found.method == "counted":
        return found
    whole = _from_sample(evidence, "autoattack", among)
    part = attack in evidence.header.plan.members
    asked = attack in (evidence.header.plan.estimate, evidence.header.claim.get("attack"))
    high = min(found.high, float((evidence.correct & ~evidence.broken(attack)).mean()))
    low = whole.low if part and not asked else found.low
    value = min(max(found.value, whole.value if part else 0.0), high)
    return replace(found, value=value, low=min(low, value), high=high)


def _from_sample(evidence: Evidence, attack: str, among: Bools) -> Interval:
    """From those of `among` that were drawn; all others of the examples are known not to survive."""
    here = drawn(evidence, among, attack)
    return sampled_share(
        evidence.survives(attack)[here],
        (evidence.correct & ~evidence.broken(attack))[here],
        int(among.sum()),
        len(evidence),
        evidence.header.plan.confidence,
    )
