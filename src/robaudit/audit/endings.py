"""Whether an audit ended as its evidence says: with that decision, and nothing left out that it would have attacked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robaudit.audit.early_stopping import HEAD_EXAMPLES, can_stop_early
from robaudit.evidence import MINIMUM, Evidence
from robaudit.plan import title
from robaudit.verdict import Verdict, estimate, judge, left_over
from robaudit.verdict.sample_claims import sample_contradictions
from robaudit.verdict.sampling import precise


def ended_otherwise(evidence: Evidence) -> list[str]:
    """What the file says of its own decision, against the verdict that its outcomes give."""
    stopping = evidence.header.early_stopping
    try:
        verdict = judge(evidence)
    except ValueError as error:
        return [f"verdict: {error}"]
    # A claim is decided by the sample, where there is one.
    alone = verdict if evidence.header.plan.within is None else replace(verdict, claim=None)
    found = sample_contradictions(evidence)
    if evidence.header.finished:
        found += _unfinished(evidence, verdict)
    if stopping.get("decided") and not (alone.settled and verdict.decided_after <= stopping["examples"]):
        found.append(
            f"verdict: is said to be decided by {stopping['examples']} examples, which the outcomes do not do"
        )
    return found


def _unfinished(evidence: Evidence, verdict: Verdict) -> list[str]:
    """How evidence that is said to be finished falls short of what its plan asks for."""
    plan, wanted = evidence.header.plan, int(evidence.header.data["n"])
    left = left_over(evidence)
    if not left:
        return []
    if plan.examples == "all":
        return [
            f"plan: every attack was to be run on all {wanted} examples, and {left} are not attacked to the end"
        ]
    if plan.within is None:
        if verdict.settled:
            return _out_of_order(evidence) if can_stop_early(plan) else []
        if len(evidence) < wanted:
            return [
                f"verdict: is said to be finished, but {len(evidence)} of {wanted} examples do not settle it"
            ]
        return [
            f"verdict: is open, so every example was to be attacked, and {left} are not attacked to the end"
        ]
    asked = f"within {100 * plan.within:g} points"
    if estimate(evidence) is None:
        return [f"sample: is said to be finished {asked}, and its short attacks are not through"]
    # One that ended with a policy's minimum may know less: the file says so, and so do its reports.
    if evidence.header.early_stopping.get(MINIMUM) or precise(evidence):
        return []
    return [f"sample: is said to be finished {asked}, and less is known of a number that was asked for"]


def _out_of_order(evidence: Evidence) -> list[str]:
    """What an audit that stops early would have attacked, of examples before others that it did attack."""
    plan, head = evidence.header.plan, np.arange(len(evidence)) < HEAD_EXAMPLES
    for name in plan.attacks:
        if (evidence.open(name) & head).any():
            return [f"{title(name)}: every attack was to be run on the first {HEAD_EXAMPLES} examples"]
    standing = evidence.survives("pgd10")
    begun = np.zeros(len(evidence), dtype=bool)
    for name in set(plan.members) - {
        "square"
    }:  # whose first queries, which may be all, are made on others too
        begun |= standing & ~head & evidence.survives(name)
    until = np.arange(len(evidence)) <= np.flatnonzero(begun).max(initial=-1)
    left = evidence.ids[standing & until & evidence.open("autoattack")]
    if len(left):
        return [f"AutoAttack on example {left[0]}: was left out, though later ones were attacked"]
    return []
