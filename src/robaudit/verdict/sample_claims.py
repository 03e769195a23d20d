"""What a sample rests on beside its draws: which examples were candidates, and whether that can be true.

A file that is to look better than it is would call broken examples candidates, where no draw has reached them, or call
drawn candidates that did not survive broken by the short attacks. `verify` makes some of either again.
"""

from __future__ import annotations

import math

import numpy as np

from robaudit.evidence import SCOUT, SCOUT_NEAR, SCOUT_TARGETED, Evidence, Outcome
from robaudit.plan import title
from robaudit.verdict.sampling import (
    FIRST_QUERIES,
    FIRST_STEPS,
    NEAR,
    NEAR_SHARE,
    NEAR_STEPS,
    candidates,
    drawn,
    passed,
)


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
    first = FIRST_STEPS + 1
    ways = {
        "apgd-ce": evidence.broken("pgd10") & evidence.broken("apgd-ce"),
        SCOUT: evidence.broken_after("square", FIRST_QUERIES),
        SCOUT_TARGETED: evidence.broken_after("apgd-t", first),
        SCOUT_NEAR: evidence.broken_after("apgd-t", evidence.header.early_stopping.get(NEAR_STEPS, 0)),
    }
    found = []
    for row in np.flatnonzero(out):
        name = next((name for name, broke in ways.items() if broke[row]), "")
        found.append((name, int(evidence.ids[row])))
    return found


def short_survivals(evidence: Evidence) -> list[tuple[str, int]]:
    """(short attack, id) of each candidate that no whole attack has been run on: it is one by the file's word."""
    among = candidates(evidence)
    if among is None:
        return []
    waiting = among & evidence.open("autoattack")
    names = (SCOUT, SCOUT_TARGETED, SCOUT_NEAR)
    return [(name, int(key)) for name in names for key in evidence.ids[waiting & passed(evidence, name)]]


def sample_contradictions(evidence: Evidence) -> list[str]:
    """What cannot be true of a sample that was drawn as `audit.within` draws; empty where there is none."""
    among = candidates(evidence)
    if among is None:
        return []
    state, plan = evidence.header.early_stopping, evidence.header.plan
    found = []
    left = int(passed(evidence, SCOUT_TARGETED).sum())
    if state.get(NEAR, 0) not in (0, math.ceil(NEAR_SHARE * left)):
        found.append(
            f"sample: {state[NEAR]} of {left} candidates are said to have got more of the short attacks"
        )
    waiting = among & evidence.open("autoattack")
    steps = min(FIRST_STEPS, plan.budget.apgd_steps) + 1
    square = evidence.attacks.get("square")
    queried = passed(evidence, SCOUT, min(FIRST_QUERIES, plan.budget_of("square").square_queries))
    queried = queried | (square.outcome != Outcome.NOT_RUN if square else False)
    missing = {
        title("apgd-t"): waiting & ~passed(evidence, SCOUT_TARGETED, steps),
        title("square"): waiting & evidence.survives("pgd10") & ~queried,
        title("apgd-ce"): waiting & evidence.broken("pgd10") & evidence.open("apgd-ce"),
    }
    for name, rows in missing.items():
        if rows.any():
            found.append(
                f"sample: example {evidence.ids[rows][0]} is a candidate that {name} was not tried on"
            )
    unexplained = [key for name, key in short_breaks(evidence) if not name]
    if unexplained:
        found.append(
            f"sample: example {unexplained[0]} and {len(unexplained) - 1} others were broken by no short attack, and "
            "are not among the candidates"
        )
    return found
