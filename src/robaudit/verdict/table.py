"""Accuracies and gaps with their intervals, derived from the evidence here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import Evidence
from robaudit.plan import AUTOATTACK
from robaudit.stats import Interval, gap_sequence, paired_gap, proportion, proportion_sequence

#: The gaps that the verdict rests on, and the field of `plan.bounds` that each is held against.
GAPS: dict[str, tuple[str, str, str]] = {
    "pgd10-square": ("pgd10", "square", "pgd_square"),
    "pgd10-autoattack": ("pgd10", "autoattack", "pgd_autoattack"),
}


@dataclass(frozen=True)
class Paired:
    """The differences of two robust accuracies, example by example.

    Attributes:
        values: (t,) in {-1, 0, 1}, in audit order, of the examples known under both.
        after: (t,), how many examples had been audited by then.

    """

    values: NDArray[np.int64]
    after: NDArray[np.int64]


def population(evidence: Evidence) -> int | None:
    """The size of the split that the examples were drawn from at random."""
    total = evidence.header.data.get("total")
    return int(total) if total else None


def rows(evidence: Evidence) -> list[str]:
    """The rows of the accuracy table: clean, every attack of the plan, and AutoAttack's worst case."""
    names = ["clean", *evidence.header.plan.attacks]
    if set(AUTOATTACK) <= set(names):
        names.append("autoattack")
    return names


def accuracy(evidence: Evidence, name: str) -> Interval | None:
    """The accuracy left by an attack, `clean` or `autoattack`; None while no example is known.

    The interval is two-sided at the plan's confidence: for `--examples all` of fixed size (the examples as a
    sample of all images like them), otherwise valid whenever the audit stopped (and about the split).
    """
    known = np.ones(len(evidence), dtype=bool) if name == "clean" else evidence.known(name)
    values = (evidence.correct if name == "clean" else evidence.survives(name))[known]
    if not len(values):
        return None
    plan = evidence.header.plan
    if plan.examples == "all":
        return proportion(int(values.sum()), len(values), plan.confidence)
    return proportion_sequence(values.astype(np.int64), population(evidence), plan.confidence)


def paired(evidence: Evidence, first: str, second: str, unanswered: int | None = None) -> Paired:
    """Survives `first` minus survives `second`, of every example known under both.

    Examples without a usable answer under either are left out, or counted as `unanswered` in {-1, 0, 1}.
    """
    known = evidence.known(first) & evidence.known(second)
    if unanswered is not None:
        known = evidence.reached(first) & evidence.reached(second)
    difference = evidence.survives(first).astype(np.int64) - evidence.survives(second).astype(np.int64)
    if unanswered is not None:
        difference[evidence.unanswered(first) | evidence.unanswered(second)] = unanswered
    return Paired(difference[known], np.arange(1, len(evidence) + 1)[known])


def gap(evidence: Evidence, name: str) -> Interval | None:
    """One of `GAPS` with its interval; None while no example is known under both attacks."""
    first, second, _ = GAPS[name]
    values = paired(evidence, first, second).values
    if not len(values):
        return None
    plan = evidence.header.plan
    if plan.examples == "all":
        return paired_gap(int((values > 0).sum()), int((values < 0).sum()), len(values), plan.confidence)
    return gap_sequence(values, population(evidence), plan.confidence)


def gaps(evidence: Evidence) -> list[str]:
    """Which of `GAPS` this plan's attacks can tell."""
    names = rows(evidence)
    return [name for name, (first, second, _) in GAPS.items() if first in names and second in names]
