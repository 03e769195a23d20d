"""Confidence sequences: intervals that hold at every number of examples at once, so one may stop any time.

The examples are a uniformly random order of a finite population of `total` examples (or independent draws
when `total` is None), and the statement is about the mean of that population. It counts every example not
yet audited as unknown: after t examples the limits lie inside what the unseen ones still allow, and after
all of them the interval is the exact value.

All limits are those of the betting test in `betting.py`, inverted (https://arxiv.org/abs/2010.09686, section
4.1): the lower limit is the smallest mean not refuted so far, at alpha/2; the upper limit is the same for
the values turned upside down. "So far" makes it a running intersection, which only shrinks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robaudit.stats.betting import first_refuted
from robaudit.stats.interval import Floats, Integers, Interval, error_rate, outcomes

#: Limits of an infinite population are bisected to within 2^-20, about 1e-6, and rounded outwards.
_HALVINGS = 20
#: How many hypotheses trace one side of `gap_path`; between them the path is rounded outwards.
_TRACED = 200


def proportion_sequence(values: ArrayLike, total: int | None, confidence: float) -> Interval:
    """Interval for the share of ones in the population, valid whenever the audit stops.

    Args:
        values: (t,) of 0 and 1 (or bool), in audit order.
        total: size of the population, >= t; None when infinite.
        confidence: in (0, 1): the probability that the interval holds for every t simultaneously.

    """
    alpha = error_rate(confidence)
    return _sequence(outcomes(values, 0, total), total, alpha, smallest=0)


def gap_sequence(values: ArrayLike, total: int | None, confidence: float) -> Interval:
    """Interval for the mean of paired differences in the population, valid whenever the audit stops.

    Args:
        values: (t,) in {-1, 0, 1}, in audit order: +1 where the first attack leaves the example robust and
            the second breaks it, -1 for the reverse.
        total: size of the population, >= t; None when infinite.
        confidence: in (0, 1): the probability that the interval holds for every t simultaneously.

    """
    alpha = error_rate(confidence)
    return _sequence(outcomes(values, -1, total), total, alpha, smallest=-1)


def gap_path(values: ArrayLike, total: int | None, confidence: float) -> tuple[Floats, Floats]:
    """The interval of `gap_sequence` after each example, for drawing.

    Args:
        values: (T,) in {-1, 0, 1}, in audit order.
        total: size of the population, >= T; None when infinite.
        confidence: in (0, 1).

    Returns:
        low, high: (T,) each. The last entries equal `gap_sequence`; earlier ones may be up to about one
        per cent of the range wider, being traced at a few hundred levels and rounded outwards.

    """
    alpha = error_rate(confidence)
    gaps = outcomes(values, -1, total)
    low = _lower_path(gaps + 1, total, 2, alpha / 2) - 1.0
    high = 1.0 - _lower_path(1 - gaps, total, 2, alpha / 2)
    means = np.cumsum(gaps) / np.arange(1, gaps.size + 1)
    return np.minimum(low, means), np.maximum(high, means)


def lower_limit(levels: Integers, total: int | None, top: int, alpha: float) -> float:
    """One-sided lower confidence limit, with confidence 1 - alpha, for the mean of the population.

    Args:
        levels: (t,) integers in {0, ..., top}, in audit order.
        total: size of the population; None when infinite.
        top: the largest value possible.
        alpha: in (0, 1).

    Returns:
        The smallest mean in [0, top] that was never refuted.

    """
    if levels.size == 0:
        return 0.0
    if total is None:
        return _lower_infinite(levels, top, alpha)
    # The sum is an integer: at least what was seen, at most that with every unseen example at the top.
    refuted = int(levels.sum()) - 1
    standing = refuted + 1 + top * (total - levels.size)
    while standing - refuted > 1:
        middle = (standing + refuted) // 2
        if _is_refuted(levels, middle, total, alpha):
            refuted = middle
        else:
            standing = middle
    return standing / total


def _lower_infinite(levels: Integers, top: int, alpha: float) -> float:
    refuted, standing = 0.0, float(top)
    for _ in range(_HALVINGS + top.bit_length()):
        middle = (refuted + standing) / 2
        if _is_refuted(levels, middle, None, alpha):
            refuted = middle
        else:
            standing = middle
    return refuted


def _is_refuted(levels: Integers, hypothesis: float, total: int | None, alpha: float) -> bool:
    return int(first_refuted(levels, np.array([float(hypothesis)]), total, alpha)[0]) <= levels.size


def _sequence(values: Integers, total: int | None, alpha: float, smallest: int) -> Interval:
    if values.size == 0:
        return Interval(0.0, float(smallest), 1.0, 0)
    top = 1 - smallest
    value = float(values.mean())
    low = smallest + lower_limit(values - smallest, total, top, alpha / 2)
    high = 1.0 - lower_limit(1 - values, total, top, alpha / 2)
    # With probability below alpha the running intersection loses the mean of the sample, or is empty. A wider
    # interval is as valid, and spares every caller a value outside its own interval.
    if values.size == total:
        return Interval(value, value, value, values.size)
    return Interval(value, min(low, value), max(high, value), values.size)


def _lower_path(levels: Integers, total: int | None, top: int, alpha: float) -> Floats:
    """`lower_limit` after each of the (T,) examples, rounded down between `_TRACED` hypotheses."""
    if levels.size == 0:
        return np.zeros(0)
    final = lower_limit(levels, total, top, alpha)
    # Squared spacing: dense near the final limit, where the path spends most of its time.
    share = 1.0 - np.linspace(1.0, 0.0, _TRACED) ** 2
    if total is None:
        hypotheses = final * share
        reached = hypotheses
        known = np.zeros(levels.size)
    else:
        # The last refuted sum is one below the limit; refuting a sum raises the limit to the next integer.
        last = round(final * total) - 1
        hypotheses = np.unique(np.floor(last * share)) if last >= 0 else np.zeros(0)
        reached = (hypotheses + 1.0) / total
        known = np.cumsum(levels) / total
    times = first_refuted(levels, hypotheses, total, alpha)
    low = np.zeros(levels.size + 1)
    np.maximum.at(low, np.minimum(times, levels.size + 1) - 1, np.where(times <= levels.size, reached, 0.0))
    path = np.maximum.accumulate(np.maximum(low[:-1], known))
    path[-1] = final
    return np.asarray(path, dtype=np.float64)
