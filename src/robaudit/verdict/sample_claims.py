"""What a sample rests on beside its draws: which examples were candidates, and whether that can be true.

A file that is to look better than it is would call broken examples candidates, where no draw has reached them, or call
drawn candidates that did not survive broken by the short attacks. `verify` makes some of either again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robaudit.evidence import (
    LEAST_NEAR,
    MINIMUM,
    NEAREST,
    SCOUT,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTED,
    SCOUTS,
    Evidence,
    Outcome,
    length_of,
)
from robaudit.plan import title
from robaudit.verdict.sampling import CHOSEN, Bools, candidates, drawn, passed, queried
from robaudit.verdict.table import never_broken


@dataclass(frozen=True)
class Tier:
    """What a beginning that only the examples nearest to a break get did to a sample.

    Attributes:
        scout: its name.
        taken: ids of what it took out, or a later tier of what it was made on.
        others: ids of the candidates that it passed over, for they were further from a break.
        met: by the name of each beginning that this is judged by, in their order, the ids on which it was made.
        ranked_after: the beginnings after which there was a ranking for it; to be near by one of these is enough.

    """

    scout: str
    taken: list[int]
    others: list[int]
    met: dict[str, set[int]]
    ranked_after: frozenset[str]


def short_breaks(evidence: Evidence) -> list[tuple[str, int]]:
    """What took the examples that are no candidates out: (short attack, id) of each; "" where none of these did.

    Beyond the last that was drawn too: how many candidates there are scales what the drawn ones say.
    """
    attacks = {SCOUT_QUERIES: "square"}
    return [(attacks.get(name, name), int(evidence.ids[row])) for row, name in _ways_out(evidence)]


def tiers(evidence: Evidence) -> list[Tier]:
    """Each of the beginnings on the nearest that took out what is no candidate for it."""
    among, out = candidates(evidence), _ways_out(evidence)
    every = set(evidence.ids.tolist())
    made = _made(evidence)
    met = {name: every for name in made if name in {SCOUT_TARGETED, SCOUT_WIDE}}
    found = []
    for number, scout in enumerate(made):
        if scout in NEAREST and among is not None:
            survived, later = _survived(evidence, scout), made[number + 1 :]
            taken = [
                int(evidence.ids[row])
                for row, name in out
                if name == scout or (name in later and survived[row])
            ]
            others = evidence.ids[among & ~survived & passed(evidence, scout)].tolist()
            # Square's queries were made on the nearest both before and after a part of them said who that is.
            rankings = [name for name in met if name != SCOUT_MORE][-1:] + list(met)[-1:]
            found.append(Tier(scout, taken, others, dict(met), frozenset(rankings)))
            met[scout] = set(evidence.ids[survived].tolist())
    return found


def _ways_out(evidence: Evidence) -> list[tuple[int, str]]:
    """(place, short attack) of what is broken, and no candidate; "" where no short attack broke it.

    Each short attack leaves a row of what it did not break. So the first that left none has to have broken it.
    """
    among = candidates(evidence)
    if among is None:
        return []
    first = evidence.broken("pgd10") & evidence.broken("apgd-ce")
    ways = [
        (name, queried(evidence), ~queried(evidence))
        if name == SCOUT
        else (name, evidence.broken_early(name), passed(evidence, name))
        for name in _made(evidence)
    ]
    found = []
    for row in np.flatnonzero(evidence.broken("autoattack") & ~among).tolist():
        left_none = ((name, broke[row]) for name, broke, left in ways if not left[row])
        name, broke = ("apgd-ce", True) if first[row] else next(left_none, ("", False))
        found.append((row, name if broke else ""))
    return found


def _made(evidence: Evidence) -> list[str]:
    """The beginnings that were made, in that order: each on what those before it left, or on the nearest of these."""
    state = evidence.header.early_stopping
    order = (SCOUT_TARGETED, SCOUT_WIDE, SCOUT, *NEAREST)
    return [name for name in order if name == SCOUT_TARGETED or state.get(CHOSEN[name])]


def short_survivals(evidence: Evidence) -> list[tuple[str, int]]:
    """(short attack, id) of each candidate that no whole attack has been run on: it is one by the file's word."""
    here, names = waiting(evidence), [name for name in _made(evidence) if name != SCOUT_QUERIES]
    return [(name, int(key)) for name in names for key in evidence.ids[here & _survived(evidence, name)]]


def waiting(evidence: Evidence) -> Bools:
    """(n,) bool: the candidates on which AutoAttack is still to be run."""
    among = candidates(evidence)
    nothing = np.zeros(len(evidence), dtype=bool)
    return nothing if among is None else among & evidence.open("autoattack")


def drawn_unbroken(evidence: Evidence) -> Bools:
    """(n,) bool: the candidates that were drawn and AutoAttack did not break: each of them stands for many."""
    among = candidates(evidence)
    nothing = np.zeros(len(evidence), dtype=bool)
    return nothing if among is None else drawn(evidence, among) & ~evidence.broken("autoattack")


def odd_candidates(evidence: Evidence) -> Bools:
    """(n,) bool: those that wait, though another attack breaks them. That can be, though seldom."""
    return ~never_broken(evidence) & waiting(evidence)


def sample_contradictions(evidence: Evidence) -> list[str]:
    """What cannot be true of a sample that was drawn as `audit.within` draws; empty where there is none."""
    among = candidates(evidence)
    if among is None:
        state = evidence.header.early_stopping
        asked = evidence.header.plan.within is not None
        if state.get(SCOUTED) and not asked:
            return ["sample: short attacks are said to be through, and the plan asks for no sample"]
        if state.get(MINIMUM):
            return [
                "sample: a policy's minimum is said to be decided by it, and its short attacks are not through"
            ]
        return []
    found, left = [], waiting(evidence)
    if len(evidence) < (wanted := int(evidence.header.data["n"])):
        found.append(
            f"sample: the short attacks are said to be through, on {len(evidence)} of {wanted} examples"
        )
    tried = [(name, _went_through(evidence, name)) for name in _made(evidence)]
    tried.append(("apgd-ce", ~(evidence.broken("pgd10") & evidence.open("apgd-ce"))))
    for name, rows in tried:
        missing = evidence.ids[left & ~rows]
        if len(missing):
            found.append(
                f"sample: example {missing[0]} is a candidate that was not attacked by: {title(name)}"
            )
    unexplained = [key for name, key in short_breaks(evidence) if not name]
    if unexplained:
        found.append(
            f"sample: example {unexplained[0]} and {len(unexplained) - 1} others were broken by no short attack, and "
            "are not among the candidates"
        )
    return found + _too_few_near(evidence, among)


def _too_few_near(evidence: Evidence, among: Bools) -> list[str]:
    """Beginnings that are said to have been made on fewer of the nearest candidates than that is ever done on."""
    ways, found = [name for _, name in _ways_out(evidence)], []
    # What broke within a part of Square's queries is said to be broken by these, whichever were made.
    counts = {SCOUT_QUERIES: ways.count(SCOUT_QUERIES) + ways.count(SCOUT_MORE)}
    for scout in NEAREST:
        record = evidence.attacks.get(scout)
        if scout in _made(evidence) and record is not None:
            made = int(((record.outcome != Outcome.NOT_RUN) & (record.steps > 0)).sum()) + counts.get(
                scout, ways.count(scout)
            )
            if made < min(LEAST_NEAR[scout], int(among.sum())):
                found.append(f"sample: {title(scout)}: is said to have been tried on {made} candidates only")
    return found


def _survived(evidence: Evidence, scout: str) -> Bools:
    """(n,) bool: it was made on this example, which it did not break."""
    record = evidence.attacks.get(scout)
    return passed(evidence, scout) if record is None else passed(evidence, scout) & (record.steps > 0)


def _went_through(evidence: Evidence, scout: str) -> Bools:
    """(n,) bool: survived as many steps as this beginning has, or the whole attack was run, or others were nearer."""
    record, whole = evidence.attacks.get(scout), evidence.attacks.get(SCOUTS[scout])
    classes = int(evidence.header.model["classes"]) or int(evidence.header.data["classes"])
    least = length_of(scout, evidence.header.plan, classes)
    found = np.zeros(len(evidence), dtype=bool)
    if record is not None:
        enough = (record.steps >= least) | (record.outcome == Outcome.NONFINITE)
        if scout == SCOUT_QUERIES:
            enough &= evidence.survives("square") | evidence.unanswered("square")
        enough |= (scout in NEAREST) & (record.steps == 0) & (record.outcome == Outcome.ROBUST)
        found |= (record.outcome != Outcome.NOT_RUN) & enough
    if scout == SCOUT and whole is not None:
        found |= whole.outcome != Outcome.NOT_RUN
    return found
