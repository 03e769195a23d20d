"""What a sample rests on beside its draws: which examples were candidates, and whether that can be true.

A file that is to look better than it is would call broken examples candidates, where no draw has reached them, or call
drawn candidates that did not survive broken by the short attacks. `verify` makes some of either again.
"""

from __future__ import annotations

import numpy as np

from robaudit.evidence import (
    FIRST_QUERIES,
    SCOUT,
    SCOUT_TARGETED,
    SCOUTS,
    Evidence,
    Outcome,
    begun,
)
from robaudit.plan import title
from robaudit.verdict.sampling import CHOSEN, MINIMUM, SCOUTED, Bools, candidates, drawn, passed


def short_breaks(evidence: Evidence) -> list[tuple[str, int]]:
    """What took the examples among which the sample was drawn out of it: (short attack, id) of each.

    Up to the last candidate that was drawn; a break by no short attack takes nothing out.
    """
    among = candidates(evidence)
    if among is None:
        return []
    here = drawn(evidence, among)
    last = int(np.flatnonzero(here).max(initial=-1))
    out = evidence.broken("autoattack") & ~among & (np.arange(len(evidence)) <= last)
    ways = {"apgd-ce": evidence.broken("pgd10") & evidence.broken("apgd-ce")}
    ways |= {name: evidence.broken_early(name) for name in _made(evidence)}
    found = []
    for row in np.flatnonzero(out):
        name = next((name for name, broke in ways.items() if broke[row]), "")
        found.append((name, int(evidence.ids[row])))
    return found


def _made(evidence: Evidence) -> list[str]:
    """The beginnings that every example got which those before them had left."""
    state = evidence.header.early_stopping
    return [name for name in SCOUTS if name == SCOUT_TARGETED or state.get(CHOSEN[name])]


def short_survivals(evidence: Evidence) -> list[tuple[str, int]]:
    """(short attack, id) of each candidate that no whole attack has been run on: it is one by the file's word."""
    here, names = waiting(evidence), _made(evidence)
    return [(name, int(key)) for name in names for key in evidence.ids[here & passed(evidence, name)]]


def waiting(evidence: Evidence) -> Bools:
    """(n,) bool: the candidates on which AutoAttack is still to be run."""
    among = candidates(evidence)
    nothing = np.zeros(len(evidence), dtype=bool)
    return nothing if among is None else among & evidence.open("autoattack")


def drawn_survivors(evidence: Evidence) -> Bools:
    """(n,) bool: the candidates that were drawn and survive all of AutoAttack: each of them stands for many."""
    among = candidates(evidence)
    nothing = np.zeros(len(evidence), dtype=bool)
    return nothing if among is None else drawn(evidence, among) & evidence.survives("autoattack")


def odd_candidates(evidence: Evidence) -> Bools:
    """(n,) bool: those that wait, though another attack breaks them. That can be, though seldom."""
    broken = np.zeros(len(evidence), dtype=bool)
    for name in evidence.header.plan.attacks:
        broken |= evidence.broken(name)
    return broken & waiting(evidence)


def sample_contradictions(evidence: Evidence) -> list[str]:
    """What cannot be true of a sample that was drawn as `audit.within` draws; empty where there is none."""
    among = candidates(evidence)
    if among is None:
        state = evidence.header.early_stopping
        odd = evidence.header.plan.within is None and (state.get(SCOUTED) or state.get(MINIMUM))
        return (
            ["sample: short attacks are said to be through, and the plan asks for no sample"] if odd else []
        )
    found, left = [], waiting(evidence)
    if len(evidence) < (wanted := int(evidence.header.data["n"])):
        found.append(
            f"sample: the short attacks are said to be through, on {len(evidence)} of {wanted} examples"
        )
    tried = [(SCOUTS[name], _went_through(evidence, name)) for name in _made(evidence)]
    tried.append(("apgd-ce", ~(evidence.broken("pgd10") & evidence.open("apgd-ce"))))
    for name, rows in tried:
        missing = evidence.ids[left & ~rows]
        if len(missing):
            found.append(f"sample: example {missing[0]} is a candidate that {title(name)} was not tried on")
    unexplained = [key for name, key in short_breaks(evidence) if not name]
    if unexplained:
        found.append(
            f"sample: example {unexplained[0]} and {len(unexplained) - 1} others were broken by no short attack, and "
            "are not among the candidates"
        )
    return found


def _went_through(evidence: Evidence, scout: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(n,) bool: survived as many steps as this beginning has, or the whole attack was run."""
    plan, record, whole = (
        evidence.header.plan,
        evidence.attacks.get(scout),
        evidence.attacks.get(SCOUTS[scout]),
    )
    if scout == SCOUT:
        least = min(FIRST_QUERIES, plan.budget_of("square").square_queries)
    else:
        targets, steps = begun(scout, plan)
        least = steps * min(targets, max(int(evidence.header.data["classes"]) - 1, 1))
    found = np.zeros(len(evidence), dtype=bool)
    if record is not None:
        found |= (record.outcome != Outcome.NOT_RUN) & (record.steps >= least)
    if scout == SCOUT and whole is not None:
        found |= whole.outcome != Outcome.NOT_RUN
    return found
