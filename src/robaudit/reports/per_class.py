"""Accuracies class by class, where there are enough examples of a class to say anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from robaudit.reports.case import Case, class_name
from robaudit.stats import proportion
from robaudit.verdict import standing

#: Examples of a class below which an interval is as wide as the scale, and rows that a reader looks at.
FEWEST, MOST_ROWS = 20, 20


def per_class(case: Case, fewest: int = FEWEST) -> list[dict[str, Any]]:
    """The classes of which there are `fewest` examples, that of which least stands up first.

    Each has `name`, `n`, `clean` and `pgd10` in %, and `stands`, what at most stands up with its interval, all of the
    same examples.
    """
    evidence = case.evidence
    if "pgd10" not in evidence.attacks:
        return []
    here = evidence.known("pgd10")
    survives, unbroken = standing(evidence)
    labels, correct = evidence.labels[here], evidence.correct[here]
    rows: list[dict[str, Any]] = []
    for label in np.unique(labels):
        mine = labels == label
        count = int(mine.sum())
        if count < fewest:
            continue
        found = proportion(int(unbroken[mine].sum()), count, evidence.header.plan.confidence)
        rows.append(
            {
                "name": class_name(case, int(label)),
                "n": count,
                "clean": f"{100 * correct[mine].mean():.1f}",
                "pgd10": f"{100 * survives[mine].mean():.1f}",
                "stands": f"{100 * found.value:.1f} ({100 * found.low:.1f} … {100 * found.high:.1f})",
                "share": found.value,
            }
        )
    return sorted(rows, key=lambda row: row["share"])[:MOST_ROWS]
