"""Evidence in, judgement out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import Evidence
from robaudit.stats import Decision, Side, decide
from robaudit.verdict import table
from robaudit.verdict.attack_failure import attack_fails, failure_sentence
from robaudit.verdict.causes import causes_of
from robaudit.verdict.claim import Claim, ClaimResult, judge_claim
from robaudit.verdict.findings import Finding, finding, from_dict

Integers = NDArray[np.int64]
Result = Literal["overestimated", "not-overestimated", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What the evidence says.

    Attributes:
        outcome: `not-overestimated` means that nothing was found, never that the model is safe.
        summary: the reason in one sentence.
        causes: findings, the gravest first.
        confidence: probability with which a decided outcome is right, whatever the model.
        decided_after: examples that it took; all audited ones where it is inconclusive.
        claim: what became of the claim, if there was one.
        blocked: a finding of the preflight check or of the probes makes it inconclusive although the attacks have said
            what they can.

    """

    outcome: Result
    summary: str
    causes: tuple[Finding, ...]
    confidence: float
    decided_after: int
    claim: ClaimResult | None = None
    blocked: bool = False

    @property
    def settled(self) -> bool:
        """Whether more examples could change nothing that was asked."""
        decided = self.blocked or self.outcome != "inconclusive"
        return decided and (self.claim is None or self.claim.outcome != "inconclusive")


def judge(evidence: Evidence, claim: Claim | None = None) -> Verdict:
    """The verdict on the evidence so far, and on a claim about it.

    Raises:
        ValueError: the claim is about an attack that the plan lacks.

    """
    preflight = tuple(from_dict(item) for item in evidence.header.findings)
    decisions = {name: _decide(evidence, name) for name in table.gaps(evidence)}
    outcome, summary, after = _outcome(evidence, decisions)
    blocking = [item for item in preflight if item.severity == "error"]
    blocked = bool(blocking) and outcome != "inconclusive"
    if blocking:
        outcome, summary = "inconclusive", f"The preflight check found: {blocking[0].message}"
    elif outcome == "not-overestimated" and attack_fails(evidence.header.probes):
        # What fools PGD-10 so thoroughly may fool the attacks that found nothing more.
        outcome, blocked = "inconclusive", True
        summary = failure_sentence(evidence.header.probes)
    causes = sorted(
        (*preflight, *_gap_causes(evidence, decisions), *causes_of(evidence)),
        key=lambda item: ("error", "warning", "note").index(item.severity),
    )
    answer = judge_claim(evidence, claim) if claim else None
    return Verdict(outcome, summary, tuple(causes), evidence.header.plan.confidence, after, answer, blocked)


def gap_sides(evidence: Evidence) -> dict[str, Side]:
    """On which side of its bound each gap is known to lie."""
    return {name: _decide(evidence, name)[0].kind for name in table.gaps(evidence)}


def _decide(evidence: Evidence, name: str) -> tuple[Decision, int]:
    """The decision on one gap, and after how many examples of the audit it fell.

    A large gap is decided by what the differences are at least, a small one by what they are at most. So an example
    that is not known to the end, or gave no usable answer, counts against whatever is to be decided: work may be left
    out in any order, and hiding behind NaN gains nothing.
    """
    first, second, _ = table.GAPS[name]
    values = table.bounded(evidence, first, second)
    found = _decide_with(evidence, name, values.low, "above")
    if found.kind != "above":
        found = _decide_with(evidence, name, values.high, "below")
    return found, int(values.after[found.after - 1]) if found.after else 0


def _decide_with(evidence: Evidence, name: str, values: Integers, side: Side) -> Decision:
    """The decision by values that bound the differences from one side."""
    _, _, bound = table.GAPS[name]
    plan = evidence.header.plan
    return decide(
        values,
        table.population(evidence),
        getattr(plan.bounds, bound),
        plan.confidence,
        gaps=len(table.gaps(evidence)),
        only=side,
    )


def _outcome(evidence: Evidence, decisions: dict[str, tuple[Decision, int]]) -> tuple[Result, str, int]:
    bounds = evidence.header.plan.bounds
    above = [(after, name) for name, (decision, after) in decisions.items() if decision.kind == "above"]
    if above:
        after, name = min(above)
        first, second, field = table.GAPS[name]
        least = 100 * decisions[name][0].low
        return (
            "overestimated",
            f"{_title(first)} reports at least {least:.1f} points more robust accuracy than {_title(second)} leaves; "
            f"the bound is {100 * getattr(bounds, field):.0f}.",
            after,
        )
    missing = [name for name in table.GAPS if name not in decisions]
    if missing:
        return (
            "inconclusive",
            f"The gap {' and '.join(missing)} was not measured: the attacks it needs were not asked for.",
            len(evidence),
        )
    open_gaps = [name for name, (decision, _) in decisions.items() if decision.kind == "undecided"]
    if open_gaps:
        return (
            "inconclusive",
            f"{len(evidence)} examples do not settle on which side of its bound the gap {open_gaps[0]} lies.",
            len(evidence),
        )
    return (
        "not-overestimated",
        "Nothing found: PGD-10's robust accuracy stays within the bounds of what stronger attacks leave.",
        max(after for _, after in decisions.values()),
    )


def _title(name: str) -> str:
    return {"pgd10": "PGD-10", "square": "Square", "autoattack": "AutoAttack"}[name]


def _gap_causes(evidence: Evidence, decisions: dict[str, tuple[Decision, int]]) -> list[Finding]:
    """The paper's sign, and its like for AutoAttack."""
    found = []
    codes = {"pgd10-square": "black-box-beats-white-box", "pgd10-autoattack": "autoattack-beats-pgd"}
    for name, (decision, _) in decisions.items():
        if decision.kind == "above":
            _, second, _ = table.GAPS[name]
            message = f"{_title(second)} leaves at least {100 * decision.low:.1f} points less than PGD-10"
            gap = table.gap(evidence, name)
            message += f", {100 * gap.value:.1f} on {gap.n} examples." if gap else "."
            found.append(finding(codes[name], message))
    return found
