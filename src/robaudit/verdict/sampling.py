"""AutoAttack's robust accuracy from a sample: which examples may survive, which of them were drawn, what that says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import (
    NEAREST,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTED,
    Evidence,
    Outcome,
)
from robaudit.stats import LOWER_PART, PROPORTION_STAKES, SURVIVAL_STAKES, Interval, sampled_share

Bools = NDArray[np.bool_]
#: The parts of the error that a lower limit and an upper one spend; and what AutoAttack's lower limit leaves of it.
_ALONE, _REST = (LOWER_PART, 1 - LOWER_PART), ((1 - LOWER_PART) / 2, (1 - LOWER_PART) / 2)
#: Where `early_stopping` keeps whether each of these was worth its price, and so made on every candidate, or on the
#: nearest: 0 or 1.
CHOSEN = {
    SCOUT_WIDE: "wide",
    SCOUT: "queried",
    SCOUT_DEEP: "deep",
    SCOUT_EVERY: "every",
    SCOUT_MORE: "more",
    SCOUT_QUERIES: "searched",
}


def passed(evidence: Evidence, scout: str) -> Bools:
    """(n,) bool: not broken by this beginning of an attack, or passed over by one that only the nearest get."""
    record = evidence.attacks.get(scout)
    if record is None:
        return np.zeros(len(evidence), dtype=bool)
    return np.asarray(record.outcome != Outcome.NOT_RUN)


def queried(evidence: Evidence) -> Bools:
    """(n,) bool: broken by Square's first queries, when these were made or when all were."""
    return np.asarray(evidence.broken_early(SCOUT) & ~passed(evidence, SCOUT))


def candidates(evidence: Evidence) -> Bools | None:
    """(n,) bool: the examples that the short attacks left, all that nothing broke; None where they are not through."""
    state = evidence.header.early_stopping
    if evidence.header.plan.within is None or not state.get(SCOUTED) or not len(evidence):
        return None
    left = passed(evidence, SCOUT_TARGETED)
    for scout in (SCOUT_WIDE, *NEAREST):
        if state.get(CHOSEN[scout]):
            left = left & passed(evidence, scout)
    if state.get(CHOSEN[SCOUT]):
        left = left & ~queried(evidence)
    return left | (evidence.correct & ~evidence.broken("autoattack"))  # whatever a file leaves out


def drawn(evidence: Evidence, among: Bools, attack: str = "autoattack") -> Bools:
    """(n,) bool: the candidates before the first that the attack is still to be run on; their order is random."""
    reached = np.logical_and.accumulate(~(among & evidence.open(attack)))
    return np.asarray(among & reached)


def estimate(
    evidence: Evidence, attack: str = "autoattack", confidence: float | None = None
) -> Interval | None:
    """The robust accuracy of all audited examples under an attack; None where it cannot be had from a sample.

    Of AutoAttack's only what the short attacks left is drawn from, of another attack's every correctly classified one.
    What survives all of AutoAttack survives each of its attacks, so the lower limit of one of these is AutoAttack's, or
    its own where that is larger; its own limits share what AutoAttack's leaves of the error. The attack whose number is
    asked for has a sample that is large enough, and keeps its own.

    Args:
        evidence: what was found.
        attack: one that the plan has.
        confidence: the plan's by default.

    """
    among = candidates(evidence)
    if among is None:
        return None
    sure = evidence.header.plan.confidence if confidence is None else confidence
    if attack == "autoattack":
        return _from_sample(evidence, attack, among, sure)
    if evidence.correct.any() and not drawn(evidence, evidence.correct, attack).any():
        return None
    asked = attack in (evidence.header.plan.estimate, evidence.header.claim.get("attack"))
    part = attack in evidence.header.plan.members
    own = _from_sample(evidence, attack, evidence.correct, sure, _REST if part and not asked else _ALONE)
    if own.method == "counted" or not part:
        return own
    whole = _from_sample(evidence, "autoattack", among, sure)
    low, value = own.low if asked else max(own.low, whole.low), max(own.value, whole.value)
    # The limits may contradict each other, with a probability below that of the error; then both are shown.
    return replace(own, value=value, low=min(low, value), high=max(own.high, low, value))


def _from_sample(
    evidence: Evidence, attack: str, among: Bools, confidence: float, spent: tuple[float, float] = _ALONE
) -> Interval:
    """From those of `among` that were drawn; all others of the examples are known not to survive."""
    here, unbroken = drawn(evidence, among, attack), evidence.correct & ~evidence.broken(attack)
    found = sampled_share(
        evidence.survives(attack)[here],
        unbroken[here],
        int(among.sum()),
        len(evidence),
        confidence,
        spent=spent,
        lower=SURVIVAL_STAKES if attack == "autoattack" else PROPORTION_STAKES,
    )
    most = float(unbroken.mean())  # whatever was drawn
    value = min(found.value, most)
    return replace(found, value=value, low=min(found.low, value), high=max(min(found.high, most), value))


def precise(evidence: Evidence) -> bool:
    """Whether each number that the plan asks for is known as precisely as it asks, or as it can be.

    The number that a claim is about may be left as soon as the claim is decided.
    """
    whole = len(evidence) == int(evidence.header.data["n"])
    asked = [name for name in ("autoattack", evidence.header.plan.estimate) if name not in (None, "pgd10")]
    return all(narrow(evidence, name) or (whole and not evidence.open(name).any()) for name in asked if name)


def narrow(evidence: Evidence, attack: str = "autoattack") -> bool:
    """Whether an attack's number is known as precisely as the plan asks."""
    within, found = evidence.header.plan.within, estimate(evidence, attack)
    return within is not None and found is not None and found.high - found.low <= 2 * within + 1e-9
