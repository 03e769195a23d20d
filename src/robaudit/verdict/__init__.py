"""Evidence in, judgement out."""

from robaudit.verdict.findings import ADVICE, Finding, finding
from robaudit.verdict.judge import Verdict, judge
from robaudit.verdict.table import GAPS, accuracy, gap, gaps, paired, population, rows

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
