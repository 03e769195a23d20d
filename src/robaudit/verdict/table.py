"""Accuracies and gaps with their intervals, derived from the evidence here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import Attacks, Evidence
from robaudit.stats import (
    Interval,
    bounded_gap_sequence,
    gap_sequence,
    paired_gap,
    proportion,
    proportion_sequence,
)
from robaudit.verdict.sampling import candidates, estimate

Bools = NDArray[np.bool_]

#: The gaps that the verdict rests on, and the field of `plan.bounds` that each is held against.
GAPS: dict[str, tuple[str, str, str]] = {
    "pgd10-square": ("pgd10", "square", "pgd_square"),
    "pgd10-autoattack": ("pgd10", "autoattack", "pgd_autoattack"),
    "pgd10-surrogate": ("pgd10", "surrogate", "pgd_autoattack"),
    "pgd10-transfer": ("pgd10", "transfer", "pgd_square"),
}
#: Those without which nothing can be said to be right; the others are held against their bounds where they are known.
NEEDED = ("pgd10-square", "pgd10-autoattack")


@dataclass(frozen=True)
class Paired:
    """The differences of two robust accuracies, example by example.

    Attributes:
        values: (t,) in {-1, 0, 1}, in audit order, of the examples known under both.
        after: (t,), how many examples had been audited by then.

    """

    values: NDArray[np.int64]
    after: NDArray[np.int64]


@dataclass(frozen=True)
class Bounded:
    """What the differences of two robust accuracies are at least and at most, example by example.

    Attributes:
        low, high: (t,) in {-1, 0, 1}, in audit order, of the examples known under the first; equal where the second is
            known too.
        after: (t,), how many examples had been audited by then.

    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    after: NDArray[np.int64]


def population(evidence: Evidence) -> int | None:
    """The size of the split that the examples were drawn from at random."""
    total = evidence.header.data.get("total")
    return int(total) if total else None


def rows(evidence: Evidence) -> list[str]:
    """The rows of the accuracy table: clean, every attack of the plan, and AutoAttack's worst case."""
    names = ["clean", *evidence.header.plan.attacks]
    if set(evidence.header.plan.members) <= set(names):
        names.append("autoattack")
    return names


def column(evidence: Evidence, name: str) -> Attacks:
    """What a row of the table is about: in a cascade what the attack and those before it leave."""
    before = evidence.header.plan.before(name)
    return (*before, name) if before else name


def known(evidence: Evidence, name: str) -> Bools:
    """(n,) bool: the examples that count in a row of the table."""
    return np.ones(len(evidence), dtype=bool) if name == "clean" else evidence.known(column(evidence, name))


def shared(evidence: Evidence) -> Bools:
    """(n,) bool: the examples known under every row that has any, so that the rows may stand side by side."""
    found = np.ones(len(evidence), dtype=bool)
    for name in rows(evidence):
        here = known(evidence, name)
        if here.any():
            found &= here
    return found


def standing(evidence: Evidence) -> tuple[Bools, Bools]:
    """Which examples PGD-10 leaves standing, and which no witness of any attack breaks: what can stand up at most.

    Both (t,) bool, of the same examples: those known under PGD-10; without that attack all, and the first is the
    second.
    """
    left = never_broken(evidence)
    if "pgd10" not in evidence.attacks:
        return left, left
    here = evidence.known("pgd10")
    return evidence.survives("pgd10")[here], left[here]


def never_broken(evidence: Evidence) -> Bools:
    """(n,) bool: classified correctly, and not known to be broken by any attack."""
    left = evidence.correct.copy()
    for name in evidence.attacks:
        left &= ~evidence.broken(name)
    return left


def accuracy(evidence: Evidence, name: str, among: Bools | None = None) -> Interval | None:
    """The accuracy left by an attack, `clean` or `autoattack`; None while no example is known.

    The interval is two-sided at the plan's confidence: for `--examples all` of fixed size (the examples as a
    sample of all images like them), otherwise valid whenever the audit stopped (and about the split). With `within`
    it may be estimated from a sample of the audited examples; it then is about these (`sampling`).

    Args:
        evidence: what was found.
        name: one of `rows`.
        among: (n,) bool, the examples to count; all that are known by default.

    """
    if among is None and (whole := _of_audited(evidence, name)):
        return whole
    here = known(evidence, name)
    if among is not None:
        here = here & among
    values = (evidence.correct if name == "clean" else evidence.survives(column(evidence, name)))[here]
    if not len(values):
        return None
    plan = evidence.header.plan
    if plan.examples == "all":
        return proportion(int(values.sum()), len(values), plan.confidence)
    return proportion_sequence(values.astype(np.int64), population(evidence), plan.confidence)


def _of_audited(evidence: Evidence, name: str, confidence: float | None = None) -> Interval | None:
    """With `within`, what is known of all audited examples; None before their short attacks are through."""
    if candidates(evidence) is None:
        return None
    if name not in ("clean", "pgd10"):
        return estimate(evidence, name, confidence)
    if not known(evidence, name).all():
        return None
    value = float((evidence.correct if name == "clean" else evidence.survives(name)).mean())
    return Interval(value, value, value, len(evidence))


def accuracy_of_split(evidence: Evidence, name: str, *, as_known: bool = False) -> Interval | None:
    """`accuracy`, about the whole split where it else is about the `--limit` of it that was audited.

    With `as_known` what it would be if the attack were run on all of these to the end, and left what is estimated.
    """
    n, total = len(evidence), population(evidence)
    confidence = 1 - (1 - evidence.header.plan.confidence) / 2  # half of the error for either step
    found = _of_audited(evidence, name, confidence)
    if found is not None and as_known:
        found = replace(found, low=found.value, high=found.value)
        if n == total:
            return found
    if found is None or n == total:
        return accuracy(evidence, name)
    least, most = math.floor(n * found.low + 1e-6), math.ceil(n * found.high - 1e-6)
    low, high = (proportion(count, n, confidence) for count in (least, most))
    return Interval(found.value, low.low, high.high, n, found.method)


def paired(evidence: Evidence, first: str, second: str) -> Paired:
    """Survives `first` minus survives `second`, of every example known under both."""
    known = evidence.known(first) & evidence.known(second)
    difference = evidence.survives(first).astype(np.int64) - evidence.survives(second).astype(np.int64)
    return Paired(difference[known], np.arange(1, len(evidence) + 1)[known])


def bounded(evidence: Evidence, first: str, second: str) -> Bounded:
    """`paired`, of every example that `first` was run on, whatever is still to be run of `second`.

    An example that `second` was not run on, or not to the end, may be robust under it or not; so may one that gave no
    usable answer, under either. What the difference then is at least speaks for a small gap, what it is at most for a
    large one, and neither says more than the full attack would (`docs/statistics.md`).
    """
    reached = evidence.reached(first)
    sides = []
    for name in (first, second):
        least = evidence.survives(name).astype(np.int64)
        sides.append((least, (evidence.correct & ~evidence.broken(name)).astype(np.int64)))
    (first_least, first_most), (second_least, second_most) = sides
    return Bounded(
        (first_least - second_most)[reached],
        (first_most - second_least)[reached],
        np.arange(1, len(evidence) + 1)[reached],
    )


def gap(evidence: Evidence, name: str, among: Bools | None = None) -> Interval | None:
    """One of `GAPS` with its interval; None while no example is known under both attacks.

    The value is of the `n` examples before the first that is not known under both. The limits of an audit that may
    stop early use what is known of the others too. With `among` (n,) bool both are of these examples alone.
    """
    first, second, _ = GAPS[name]
    if among is None and (of_all := _gap_of_audited(evidence, first, second)):
        return of_all
    if evidence.header.plan.before(second):  # known alone on what others left only
        return None
    found = paired(evidence, first, second)
    values = found.values if among is None else found.values[among[found.after - 1]]
    if not len(values):
        return None
    plan = evidence.header.plan
    if plan.examples == "all":
        return paired_gap(int((values > 0).sum()), int((values < 0).sum()), len(values), plan.confidence)
    if among is not None:
        return gap_sequence(values, population(evidence), plan.confidence)
    all_seen = bounded(evidence, first, second)
    if (all_seen.low == all_seen.high).all():
        return gap_sequence(all_seen.low, population(evidence), plan.confidence)
    low, high = bounded_gap_sequence(all_seen.low, all_seen.high, population(evidence), plan.confidence)
    value = float(values.mean())
    return Interval(value, min(low, high, value), max(low, high, value), len(values))


def _gap_of_audited(evidence: Evidence, first: str, second: str) -> Interval | None:
    """Of all audited examples, from what a sample says of the second attack; None where it says nothing.

    Unless its number was asked for, the differences of examples that are known under both say something too: each
    of the two gets half of the error, and the limits are the tighter ones.
    """
    plan = evidence.header.plan
    if not known(evidence, first).all() or estimate(evidence, second) is None:
        return None
    if second in ("autoattack", plan.estimate):
        return _gap_to(estimate(evidence, second), evidence, first)
    confidence = 1 - (1 - plan.confidence) / 2
    found = _gap_to(estimate(evidence, second, confidence), evidence, first)
    seen = bounded(evidence, first, second)
    low, high = bounded_gap_sequence(seen.low, seen.high, len(evidence), confidence)
    low, high = max(low, found.low), min(high, found.high)
    return replace(found, low=min(low, found.value), high=max(high, found.value))


def _gap_to(sampled: Interval | None, evidence: Evidence, first: str) -> Interval:
    """The gap between an attack that was run on all audited examples and what a sample says of another on these."""
    assert sampled is not None
    least = float(evidence.survives(first).mean())
    most = float((evidence.correct & ~evidence.broken(first)).mean())
    return Interval(
        value=(least + most) / 2 - sampled.value,
        low=least - sampled.high,
        high=most - sampled.low,
        n=sampled.n,
        method=sampled.method,
    )


def gaps(evidence: Evidence) -> list[str]:
    """Which of `GAPS` this plan's attacks can tell."""
    names = rows(evidence)
    return [name for name, (first, second, _) in GAPS.items() if first in names and second in names]
