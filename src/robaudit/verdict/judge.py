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
from robaudit.verdict.claim import Claim, ClaimResult, claim_kept, judge_claim
from robaudit.verdict.curve import curve_causes
from robaudit.verdict.findings import Finding, finding, from_dict
from robaudit.verdict.sampling import precise
from robaudit.wording import examples

Integers = NDArray[np.int64]
#: With PGD-10 breaking all of these, at most 13 % of all examples can stand up to it, at confidence 0.99.
FEWEST_BROKEN = 32
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
        minimum: what became of what a policy demands, if one does.
        blocked: a finding of the preflight check or of the probes makes it inconclusive although the attacks have said
            what they can.

    """

    outcome: Result
    summary: str
    causes: tuple[Finding, ...]
    confidence: float
    decided_after: int
    claim: ClaimResult | None = None
    minimum: ClaimResult | None = None
    blocked: bool = False

    @property
    def settled(self) -> bool:
        """Whether more examples could change nothing that was asked."""
        return (self.blocked or self.outcome != "inconclusive") and self.answered

    @property
    def answered(self) -> bool:
        """Whether the claim and what a policy demands, if there are any, are decided."""
        asked = [item for item in (self.claim, self.minimum) if item]
        return all(item.outcome != "inconclusive" for item in asked)


def judge(evidence: Evidence, claim: Claim | None = None) -> Verdict:
    """The verdict on the evidence so far, on a claim about it, and on what a policy demands.

    Args:
        evidence: what was found.
        claim: to be judged instead of that which the evidence holds, or, if `demanded`, beside it.

    Raises:
        ValueError: the claim is about an attack that the plan lacks.

    """
    preflight = tuple(from_dict(item) for item in evidence.header.findings)
    decisions = {name: _decide(evidence, name) for name in table.gaps(evidence)}
    outcome, summary, after = _nothing_to_lose(evidence) or _outcome(evidence, decisions)
    blocking = [item for item in preflight if item.severity == "error"]
    blocked = bool(blocking) and outcome != "inconclusive"
    if blocking:
        outcome, summary = "inconclusive", f"The preflight check found: {blocking[0].message}"
    elif outcome == "not-overestimated" and attack_fails(evidence.header.probes, evidence.header.plan.eot):
        # What fools PGD-10 so thoroughly may fool the attacks that found nothing more.
        outcome, blocked = "inconclusive", True
        summary = failure_sentence(evidence.header.probes, evidence.header.plan.eot)
    causes = sorted(
        (
            *preflight,
            *_gap_causes(evidence, decisions),
            *_each_once(causes_of(evidence), curve_causes(evidence)),
        ),
        key=lambda item: ("error", "warning", "note").index(item.severity),
    )
    demanded = claim if claim and claim.demanded else None
    published = claim_kept(evidence) if claim is None or claim.demanded else claim
    answers = [judge_claim(evidence, item) if item else None for item in (published, demanded)]
    confidence = evidence.header.plan.confidence
    return Verdict(
        outcome=outcome,
        summary=summary,
        causes=tuple(causes),
        confidence=confidence,
        decided_after=after,
        claim=answers[0],
        minimum=answers[1],
        blocked=blocked,
    )


def is_complete(evidence: Evidence, verdict: Verdict) -> bool:
    """Whether an audit that gave this verdict has nothing left to do."""
    plan, minimum = evidence.header.plan, verdict.minimum
    if not left_over(evidence):
        return True
    if plan.examples == "all":  # whatever is decided on the way
        return False
    decided = minimum is not None and minimum.outcome != "inconclusive"  # needs no more precision than that
    return verdict.settled and (plan.within is None or decided or precise(evidence))


def left_over(evidence: Evidence) -> int:
    """How many examples are not looked at yet, or have an attack before them that every example is to meet.

    Each attack, where each is run alone on all; else PGD-10, and AutoAttack's as far as none of them has broken the
    example.
    """
    plan, wanted = evidence.header.plan, int(evidence.header.data["n"])
    members = set(plan.members) & set(plan.attacks)
    alone = not members or (plan.examples == "all" and not plan.cascade)
    others = set(plan.attacks) - members if plan.cascade else {"pgd10"} & set(plan.attacks)
    names = plan.attacks if alone else ("autoattack", *others)
    left = np.zeros(len(evidence), dtype=bool)
    for name in names:
        left |= evidence.open(name)
    return int(left.sum()) + wanted - len(evidence)


def _each_once(first: list[Finding], more: list[Finding]) -> list[Finding]:
    """All of `first`, and of `more` those of other codes."""
    return first + [item for item in more if item.code not in {other.code for other in first}]


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


def _nothing_to_lose(evidence: Evidence) -> tuple[Result, str, int] | None:
    """Where PGD-10 leaves nothing there is no robustness that it could overestimate."""
    n = len(evidence)
    if n < FEWEST_BROKEN or not evidence.known("pgd10").all() or evidence.survives("pgd10").any():
        return None
    most = 1 - (1 - evidence.header.plan.confidence) ** (1 / n)
    return (
        "not-overestimated",
        f"{_title(evidence, 'pgd10')} leaves none of {n} examples standing (so at most {100 * most:.1f} % of all, at "
        "this confidence): there is no robustness that could be overestimated.",
        FEWEST_BROKEN,
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
            f"{_title(evidence, first)} reports at least {least:.1f} points more robust accuracy than "
            f"{_title(evidence, second)} leaves; "
            f"the bound is {100 * getattr(bounds, field):.0f}.",
            after,
        )
    missing = [name for name in table.NEEDED if name not in decisions]
    if missing:
        return (
            "inconclusive",
            f"{_gap_title(evidence, missing)} not measured: the attacks that needs were not asked for.",
            len(evidence),
        )
    open_gaps = [name for name, (decision, _) in decisions.items() if decision.kind == "undecided"]
    if open_gaps:
        others = " and ".join(_title(evidence, table.GAPS[name][1]) for name in open_gaps)
        return (
            "inconclusive",
            f"{examples(len(evidence))} cannot settle whether {_title(evidence, 'pgd10')} reports too much beside what "
            f"{others} leave{'s' * (len(open_gaps) == 1)}.",
            len(evidence),
        )
    return (
        "not-overestimated",
        f"Nothing found: {_title(evidence, 'pgd10')}'s robust accuracy stays within the bounds of what "
        f"{'weakened' if evidence.header.plan.reduced(_classes(evidence)) else 'stronger'} attacks leave.",
        max(after for _, after in decisions.values()),
    )


def _classes(evidence: Evidence) -> int:
    return int(evidence.header.data.get("classes", 1 << 30))


def _title(evidence: Evidence, name: str) -> str:
    return evidence.header.plan.title(name, _classes(evidence))


def _gap_title(evidence: Evidence, names: list[str]) -> str:
    """The gaps as the beginning of a sentence about what was not done to them."""
    seconds = " and ".join(_title(evidence, table.GAPS[name][1]) for name in names)
    return f"The gap between {_title(evidence, 'pgd10')} and {seconds} was"


def _gap_causes(evidence: Evidence, decisions: dict[str, tuple[Decision, int]]) -> list[Finding]:
    """The paper's sign, and its like for AutoAttack."""
    found = []
    codes = {
        "pgd10-square": "black-box-beats-white-box",
        "pgd10-autoattack": "autoattack-beats-pgd",
        "pgd10-surrogate": "surrogate-beats-white-box",
        "pgd10-transfer": "transfer-beats-white-box",
    }
    for name, (decision, _) in decisions.items():
        if decision.kind == "above":
            _, second, _ = table.GAPS[name]
            gap = table.gap(evidence, name)
            seen = f", {100 * gap.value:.1f} on {examples(gap.n)}." if gap else "."
            message = (
                f"{_title(evidence, second)} leaves at least {100 * decision.low:.1f} points less than "
                f"{_title(evidence, 'pgd10')}{seen}"
            )
            found.append(finding(codes[name], message))
    return found
