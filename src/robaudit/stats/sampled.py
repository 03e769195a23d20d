"""The share of a population that survives, where only some may, and a random sample of these was looked at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from robaudit.stats.betting import PROPORTION_STAKES, SURVIVAL_STAKES
from robaudit.stats.interval import Floats, Integers, Interval, error_rate, outcomes
from robaudit.stats.sequences import lower_limit

#: How many times as many draws an interval takes that may be looked at whenever one likes: a polynomial in the share
#: that breaks over the interval's length (simulated with `sampled_share`: 1.05 where none breaks, 1.4 for a third).
_ANYTIME = (1.05, 1.3, 0.5)
#: The part of the error that the lower limit may spend. Nearly all candidates survive, and the upper limit then is
#: nearly their number, which is known; compared with its neighbours in docs/results/coverage.md, as are the stakes.
LOWER_PART = 0.85


def sampled_share(
    least: ArrayLike,
    most: ArrayLike,
    candidates: int,
    total: int,
    confidence: float,
    *,
    spent: tuple[float, float] = (LOWER_PART, 1 - LOWER_PART),
    lower: Floats = SURVIVAL_STAKES,
) -> Interval:
    """Interval for the share of ones among `total` examples, all but `candidates` of which are known to be zeros.

    The candidates are drawn without replacement, in an order that says nothing of their outcomes. The interval holds
    at every number of draws at once, so that one may stop at any (the betting test of `betting.py`, section 5 of
    https://arxiv.org/abs/2010.09686, with the candidates as the population).

    Args:
        least: (t,) of 0 and 1, in the order of drawing: what each outcome is at least.
        most: likewise, at most.
        candidates: at least t.
        total: at least `candidates`, and at least 1.
        confidence: in (0, 1).
        spent: the parts of the error that the lower limit and the upper one may spend.
        lower: the stakes of the lower limit, chosen before an outcome is known.

    Returns:
        `value` estimates the share, `n` is `total`.

    Raises:
        ValueError: a number is out of its range.

    """
    alpha = error_rate(confidence)
    if not 0 <= candidates <= total or total < 1:
        raise ValueError(f"{candidates} candidates among {total} examples: there cannot be that many")
    low_values, high_values = outcomes(least, 0, candidates), outcomes(most, 0, candidates)
    if low_values.size != high_values.size or (low_values > high_values).any():
        raise ValueError("an outcome is at least more than it is at most")
    t = low_values.size
    if t == candidates:
        low, high = float(low_values.sum()), float(high_values.sum())
        value = (low + high) / 2
    else:
        exact = bool((low_values == high_values).all())

        def limit(values: Integers, ends: tuple[int, int], part: float, bets: Floats) -> float:
            return candidates * lower_limit(values, ends, candidates, part * alpha, bets, exact=exact)

        low = limit(low_values, (0, 1), spent[0], lower)
        high = -limit(-high_values, (-1, 0), spent[1], PROPORTION_STAKES)
        seen = (low_values.mean() + high_values.mean()) / 2 if t else 0.5
        value = float(np.clip(candidates * seen, low, high)) if low <= high else candidates * seen
        low, high = min(low, high, value), max(low, high, value)  # as in `sequences`
    return Interval(
        value / total, low / total, high / total + 0.0, total, "estimated" if t < candidates else "counted"
    )


def draws_wanted(candidates: int, breaks: float, total: int, within: float, confidence: float) -> float:
    """About how many draws make the interval of `sampled_share` narrow enough.

    Args:
        candidates: at least 0.
        breaks: of these, how many are thought not to survive.
        total: examples that the share is of.
        within: half the interval's length, a fraction.
        confidence: in (0, 1).

    """
    share = min(breaks / max(candidates, 1), 0.5)
    apart = min(2 * within * total / max(candidates, 1), 0.99 - share)
    worse = share + apart
    grown = (1 - share) * math.log((1 - share) / (1 - worse)) + (
        share * math.log(share / worse) if share else 0
    )
    alone = math.log(2 / (1 - confidence)) / max(grown, 1e-9)
    anytime = alone * np.polynomial.Polynomial(_ANYTIME)(share / apart)
    return float(min(candidates, anytime / (1 + anytime / max(candidates, 1))))  # without replacement fewer
