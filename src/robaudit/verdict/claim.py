"""A published robust accuracy against the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robaudit.evidence import Evidence
from robaudit.plan import ATTACK_NAMES, AuditPlan
from robaudit.spelling import unknown
from robaudit.stats import Interval
from robaudit.verdict import table

ClaimOutcome = Literal["refuted", "consistent", "inconclusive"]
#: An interval around the claim no wider than this, on either side, makes it consistent rather than open.
CONSISTENT_WIDTH = 0.03


@dataclass(frozen=True)
class Claim:
    """`value`, a robust accuracy in [0, 1], said to be left by `attack`: `autoattack` or one by name.

    `demanded`: nobody claimed it, a policy asks for at least so much.
    """

    value: float
    attack: str = "autoattack"
    demanded: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            hint = f"; did you mean {self.value / 100:g}?" if 1 < self.value <= 100 else ""
            raise ValueError(f"claim {self.value:g} must be in [0, 1]{hint}")
        if self.attack not in ("autoattack", *ATTACK_NAMES):
            raise ValueError(unknown("claim attack", self.attack, ("pgd10", "autoattack")))


def make_claim(value: float | None, attack: str, plan: AuditPlan) -> Claim | None:
    """The claim to be judged, if there is one.

    Args:
        value: the robust accuracy that was published, in [0, 1]; None claims nothing.
        attack: what is said to leave it: `autoattack`, `pgd` or an attack's own name.
        plan: of the audit that is to judge it.

    Raises:
        ValueError: it is not an accuracy, or the plan lacks its attack.

    """
    if value is None:
        return None
    name = "pgd10" if attack == "pgd" else attack
    known = ("autoattack", "pgd", *ATTACK_NAMES)
    if name not in known:
        raise ValueError(unknown("claim-attack", attack, known))
    needed = set(plan.members) if name == "autoattack" else {name}
    if plan.before(name):
        raise ValueError(
            f"claim-attack '{attack}': a cascade runs it on what others left; name the attacks instead of autoattack"
        )
    if not needed <= set(plan.attacks):
        raise ValueError(f"claim-attack '{attack}' needs {', '.join(sorted(needed))} among --attacks")
    return Claim(value, name)


def claim_kept(evidence: Evidence) -> Claim | None:
    """The claim that the evidence itself holds.

    Raises:
        ValueError: it is not an accuracy, or about no attack.

    """
    kept = evidence.header.claim
    return Claim(float(kept["value"]), str(kept["attack"])) if kept else None


@dataclass(frozen=True)
class ClaimResult:
    """What the evidence says of a claim: `refuted` when the whole interval lies below it."""

    claim: Claim
    outcome: ClaimOutcome
    interval: Interval | None


def judge_claim(evidence: Evidence, claim: Claim) -> ClaimResult:
    """Refuted, consistent, or not settled by these examples.

    A claim below the interval is consistent: the model is at least as robust as was said. So is one near to both of its
    ends, unless it is `demanded`: that has to be reached.

    Raises:
        ValueError: the plan lacks an attack that the claim is about.

    """
    if claim.attack not in table.rows(evidence):
        raise ValueError(f"claim attack '{claim.attack}' was not run; add it to --attacks")
    interval = table.accuracy_of_split(evidence, claim.attack)
    return ClaimResult(claim, _outcome(claim, interval), interval)


def could_be_decided(evidence: Evidence, found: ClaimResult) -> bool:
    """Whether a claim would be decided were its attack's number known of all examples, if that is what it seems.

    With `--limit` it need not be: these are a sample of the split, however much is attacked of them.
    """
    known = table.accuracy_of_split(evidence, found.claim.attack, as_known=True)
    return _outcome(found.claim, known) != "inconclusive"


def _outcome(claim: Claim, interval: Interval | None) -> ClaimOutcome:
    if interval is None:
        return "inconclusive"
    if interval.high < claim.value:
        return "refuted"
    apart = max(interval.high - claim.value, claim.value - interval.low)
    close = not claim.demanded and apart <= CONSISTENT_WIDTH
    return "consistent" if claim.value <= interval.low or close else "inconclusive"
