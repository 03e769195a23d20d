"""Evidence in, judgement out."""

from robaudit.verdict.accuracy import GAPS, accuracy, gap, gaps, paired, population, rows
from robaudit.verdict.findings import ADVICE, Finding, finding
from robaudit.verdict.judge import Verdict, judge

__all__ = [
    "ADVICE",
    "GAPS",
    "Finding",
    "Verdict",
    "accuracy",
    "finding",
    "gap",
    "gaps",
    "judge",
    "paired",
    "population",
    "rows",
]
