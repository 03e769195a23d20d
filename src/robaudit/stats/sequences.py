"""Confidence sequences: intervals that hold at every number of examples at once, so one may stop any time.

The examples are a uniformly random order of a finite population of `total` examples (or independent draws
when `total` is None), and the statement is about the mean of that population. It counts every example not
yet audited as unknown: after t examples the limits lie inside what the unseen ones still allow, and after
all of them the interval is the exact value.

All limits are those of the betting test in `betting.py`, inverted (https://arxiv.org/abs/2010.09686,
section 4): the lower limit is the smallest mean not refuted so far, at alpha/2; the upper limit is the same
for the values turned upside down. "So far" makes it a running intersection, which only shrinks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robaudit.stats.betting import GAP_STAKES, PROPORTION_STAKES, first_refuted
from robaudit.stats.interval import Floats, Integers, Interval, error_rate, outcomes

#: Limits of an infinite population are bisected to within 2^-20, about 1e-6, and rounded outwards.
_HALVINGS = 20
#: How many hypotheses trace one side of `gap_path`; between them the path is rounded outwards.
_TRACED = 128


def proportion_sequence(values: ArrayLike, total: int | None, confidence: float) -> Interval:
    """Interval for the share of ones in the population, valid whenever the audit stops.

    Args:
        values: (t,) of 0 and 1 (or bool), in audit order.
        total: size of the population, >= t; None when infinite.
        confidence: in (0, 1): the probability that the interval holds for every t simultaneously.

    """
    alpha = error_rate(confidence)
    seen = outcomes(values, 0, total)
    low = lower_limit(seen, (0, 1), total, alpha / 2, PROPORTION_STAKES)
    high = -lower_limit(-seen, (-1, 0), total, alpha / 2, PROPORTION_STAKES)
    return _around_mean(seen, low, high, total)


def gap_sequence(values: ArrayLike, total: int | None, confidence: float) -> Interval:
    """Interval for the mean of paired differences in the population, valid whenever the audit stops.

    Args:
        values: (t,) in {-1, 0, 1}, in audit order: +1 where the first attack leaves the example robust and
            the second breaks it, -1 for the reverse.
        total: size of the population, >= t; None when infinite.
        confidence: in (0, 1): the probability that the interval holds for every t simultaneously.

    """
    alpha = error_rate(confidence)
    seen = outcomes(values, -1, total)
    low = lower_limit(seen, (-1, 1), total, alpha / 2, GAP_STAKES)
    high = -lower_limit(-seen, (-1, 1), total, alpha / 2, GAP_STAKES)
    return _around_mean(seen, low, high, total)


def bounded_gap_sequence(
    least: ArrayLike, most: ArrayLike, total: int | None, confidence: float
) -> tuple[float, float]:
    """Limits for the mean of paired differences of which only bounds are known, valid whenever the audit stops.

    The lower limit of `gap_sequence` never falls when a value grows, so that of `least` lies below that of the
    differences themselves; likewise above.

    Args:
        least: (t,) in {-1, 0, 1}, in audit order: what each difference is at least.
        most: likewise, at most.
        total: size of the population, >= t; None when infinite.
        confidence: in (0, 1).

    """
    alpha = error_rate(confidence)
    low = lower_limit(outcomes(least, -1, total), (-1, 1), total, alpha / 2, GAP_STAKES, exact=False)
    high = -lower_limit(-outcomes(most, -1, total), (-1, 1), total, alpha / 2, GAP_STAKES, exact=False)
    return low, high + 0.0


def gap_path(values: ArrayLike, total: int | None, confidence: float) -> tuple[Floats, Floats]:
    """The interval of `gap_sequence` after each example, for drawing.

    Args:
        values: (T,) in {-1, 0, 1}, in audit order.
        total: size of the population, >= T; None when infinite.
        confidence: in (0, 1).

    Returns:
        low, high: (T,) each. The last entries equal `gap_sequence`; earlier ones may be wider by up to about
        one per cent of the range, being traced at a few hundred levels and rounded outwards.

    """
    alpha = error_rate(confidence)
    seen = outcomes(values, -1, total)
    if seen.size == 0:
        return np.zeros(0), np.zeros(0)
    means = np.cumsum(seen) / np.arange(1, seen.size + 1)
    lows, highs = _lower_path(seen, total, alpha / 2), -_lower_path(-seen, total, alpha / 2)
    low = np.minimum(np.minimum(lows, highs), means)  # as in `_around_mean`
    high = np.maximum(np.maximum(lows, highs), means)
    if seen.size == total:
        low[-1] = high[-1] = means[-1]
    return low, high


def lower_limit(
    values: Integers,
    ends: tuple[int, int],
    total: int | None,
    alpha: float,
    bets: Floats,
    *,
    exact: bool = True,
) -> float:
    """One-sided lower confidence limit, with confidence 1 - alpha, for the mean of the population.

    Args:
        values: (t,) integers in audit order.
        ends: the smallest and the largest value possible.
        total: size of the population, >= t; None when infinite.
        alpha: in (0, 1).
        bets: (B,) see `betting.stakes`.
        exact: whether `values` are the examples' own; else each is at most that.

    Returns:
        The smallest mean, within `ends`, that was never refuted; the smallest value when t = 0.

    """
    smallest, largest = ends
    if values.size == 0:
        return float(smallest)
    levels, top = values - smallest, largest - smallest
    if total is None:
        return smallest + _bisect_mean(levels, top, alpha, bets)
    # The sum is an integer: at least what was seen, at most that with every unseen example at the top. What was seen
    # may be more than `levels` where these are not exact: then only the bets can refute, perhaps long ago.
    refuted = int(levels.sum()) - 1
    standing = refuted + 1 + top * (total - levels.size) if exact else top * total
    while standing - refuted > 1:
        middle = (standing + refuted) // 2
        if _is_refuted(levels, middle, total, alpha, bets):
            refuted = middle
        else:
            standing = middle
    return (standing + smallest * total) / total


def _bisect_mean(levels: Integers, top: int, alpha: float, bets: Floats) -> float:
    """The largest mean in [0, top] found refuted when the population is infinite."""
    refuted, standing = 0.0, float(top)
    for _ in range(_HALVINGS + top - 1):
        middle = (refuted + standing) / 2
        if _is_refuted(levels, middle, None, alpha, bets):
            refuted = middle
        else:
            standing = middle
    return refuted


def _is_refuted(levels: Integers, hypothesis: float, total: int | None, alpha: float, bets: Floats) -> bool:
    times = first_refuted(levels, np.array([float(hypothesis)]), total, alpha, bets)
    return int(times[0]) <= levels.size


def _around_mean(values: Integers, low: float, high: float, total: int | None) -> Interval:
    """The interval, made to contain the mean of the sample.

    With probability below alpha the running intersection loses that mean, or is empty (`low > high`). What is
    returned spans both limits and the mean: a wider interval is as valid, and no caller has to expect a
    value outside its own interval, or a point where the limits contradict each other.
    """
    if values.size == 0:
        return Interval(0.0, low, high + 0.0, 0)  # + 0.0 makes -0.0 plain
    value = float(values.mean())
    if values.size == total:
        return Interval(value, value, value, values.size)
    return Interval(value, min(low, high, value), max(low, high, value) + 0.0, values.size)


def _lower_path(values: Integers, total: int | None, alpha: float) -> Floats:
    """`lower_limit` of a gap after each of the (T,) examples, rounded down between `_TRACED` hypotheses."""
    final = lower_limit(values, (-1, 1), total, alpha, GAP_STAKES)
    levels = values + 1
    # Squared spacing: dense near the final limit, where the path spends most of its time.
    share = 1.0 - np.linspace(1.0, 0.0, _TRACED) ** 2
    if total is None:
        hypotheses = (final + 1.0) * share
        limits = hypotheses - 1.0
        unseen = np.full(levels.size, -1.0)
    else:
        # A refuted sum raises the limit to the next integer; the last refuted is one below the final limit.
        hypotheses = np.unique(np.floor((round((final + 1.0) * total) - 1) * share))
        limits = (hypotheses + 1.0 - total) / total
        unseen = (np.cumsum(levels) - total) / total  # every example not yet seen is -1
    times = first_refuted(levels, hypotheses, total, alpha, GAP_STAKES)
    path = np.concatenate([unseen, [-1.0]])
    np.maximum.at(path, times - 1, limits)  # those never refuted fall into the last place, which is dropped
    path = np.maximum.accumulate(path[:-1])
    path[-1] = final
    return np.asarray(path, dtype=np.float64)
