"""Evidence in, judgement out."""

from robaudit.verdict.attack_failure import INDICATORS, failure_alarms, failure_sentence
from robaudit.verdict.causes import FEW_EXAMPLES, RUGGED_SGCS, UNCONVERGED_FOSC, causes_of
from robaudit.verdict.claim import Claim, ClaimResult, judge_claim, make_claim
from robaudit.verdict.comparison import Difference, compare
from robaudit.verdict.curve import CurvePoint, curve
from robaudit.verdict.findings import ADVICE, Finding, finding
from robaudit.verdict.judge import Verdict, gap_sides, is_complete, judge, left_over
from robaudit.verdict.pages import DOCUMENTATION, Page, pages
from robaudit.verdict.sampling import estimate, narrow
from robaudit.verdict.table import (
    GAPS,
    accuracy,
    accuracy_of_split,
    bounded,
    gap,
    gaps,
    never_broken,
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
    "accuracy_of_split",
    "bounded",
    "causes_of",
    "compare",
    "curve",
    "estimate",
    "failure_alarms",
    "failure_sentence",
    "finding",
    "gap",
    "gap_sides",
    "gaps",
    "is_complete",
    "judge",
    "judge_claim",
    "left_over",
    "make_claim",
    "narrow",
    "never_broken",
    "pages",
    "paired",
    "population",
    "rows",
    "shared",
    "standing",
]
