"""Evidence in, judgement out."""

from robaudit.verdict.attack_failure import INDICATORS, failure_alarms, failure_sentence
from robaudit.verdict.causes import FEW_EXAMPLES, RUGGED_SGCS, UNCONVERGED_FOSC, causes_of
from robaudit.verdict.claim import Claim, ClaimResult, judge_claim, make_claim
from robaudit.verdict.comparison import Difference, compare
from robaudit.verdict.curve import CurvePoint, curve
from robaudit.verdict.findings import ADVICE, Finding, finding
from robaudit.verdict.judge import Verdict, gap_sides, judge
from robaudit.verdict.pages import DOCUMENTATION, Page, pages
from robaudit.verdict.sampling import estimate
from robaudit.verdict.table import (
    GAPS,
    accuracy,
    bounded,
    gap,
    gap_of_all,
    gaps,
    paired,
    population,
    rows,
    shared,
    standing,
)

__all__ = [
    "ADVICE",
    "DOCUMENTATION",
    "FEW_EXAMPLES",
    "GAPS",
    "INDICATORS",
    "RUGGED_SGCS",
    "UNCONVERGED_FOSC",
    "Claim",
    "ClaimResult",
    "CurvePoint",
    "Difference",
    "Finding",
    "Page",
    "Verdict",
    "accuracy",
    "bounded",
    "causes_of",
    "compare",
    "curve",
    "estimate",
    "failure_alarms",
    "failure_sentence",
    "finding",
    "gap",
    "gap_of_all",
    "gap_sides",
    "gaps",
    "judge",
    "judge_claim",
    "make_claim",
    "pages",
    "paired",
    "population",
    "rows",
    "shared",
    "standing",
]
