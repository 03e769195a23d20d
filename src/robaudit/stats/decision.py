"""When a gap is known to be above or below a bound, and no earlier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from robaudit.stats.betting import GAP_STAKES, first_refuted
from robaudit.stats.interval import Integers, error_rate, outcomes
from robaudit.stats.sequences import lower_limit

Side = Literal["above", "below", "undecided"]
_NEVER = 1 << 62


@dataclass(frozen=True)
class Decision:
    """Which side of the bound the gap of the population lies on.

    Attributes:
        kind: `above` (gap >= bound), `below` (gap < bound) or `undecided`.
        after: the number of examples that decided it; all that were given when undecided.
        low: after those examples, the gap is at least this ...
        high: ... or, as a statement of its own, at most this: one-sided limits that hold with the confidence
            asked for, each by itself. They are tighter than the two-sided interval and always agree with
            `kind`: `low >= bound` when above, `high <= bound` when below.

    """

    kind: Side
    after: int
    low: float
    high: float


def decide(
    values: ArrayLike,
    total: int | None,
    bound: float,
    confidence: float,
    gaps: int = 1,
    only: Side | None = None,
) -> Decision:
    """The first number of examples at which the gap is known to be at least `bound`, or less.

    Two betting tests run side by side, each with the full error `alpha = 1 - confidence`: one doubts
    "gap < bound", the other "gap >= bound". Only one of the two can be true of a population, only the test of
    the true one can err, and it does so with probability at most alpha. So the answer is wrong with
    probability at most alpha at every true gap, though neither test pays for the other. (A two-sided
    interval must pay alpha/2 to each side, and may therefore still contain a bound that is decided.)

    Args:
        values: (t,) in {-1, 0, 1}, in audit order.
        total: size of the population, >= t; None when infinite.
        bound: in (-1, 1].
        confidence: in (0, 1).
        gaps: how many gaps are tested of which any one `above` is enough for the verdict. Their errors add
            up, so `above` then takes alpha / gaps; `below` keeps alpha, for a verdict that needs all of
            them below is wrong only if a test of one that is not below errs.
        only: the one side that may be decided, where the values are bounds of the differences from that side:
            at least as much for `above`, at most for `below`. Each ratio of the bet then is no more than that of
            the differences themselves, so it decides no earlier and errs no more often.

    """
    kind, after = side(values, total, bound, confidence, gaps, only)
    alpha = error_rate(confidence)
    seen = outcomes(values, -1, total)[:after]
    low = lower_limit(seen, (-1, 1), total, alpha / gaps, GAP_STAKES)
    high = 0.0 - lower_limit(-seen, (-1, 1), total, alpha, GAP_STAKES)
    # An infinite population's limits are rounded outwards, which must not undo what the test has settled.
    return Decision(
        kind,
        after,
        max(low, bound) if kind == "above" else low,
        min(high, bound) if kind == "below" else high,
    )


def side(
    values: ArrayLike,
    total: int | None,
    bound: float,
    confidence: float,
    gaps: int = 1,
    only: Side | None = None,
) -> tuple[Side, int]:
    """`kind` and `after` of `decide`, whose arguments it takes, without the limits: several times faster."""
    alpha = error_rate(confidence)
    if not -1.0 < bound <= 1.0:
        raise ValueError(f"bound {bound:g} must be in (-1, 1], for example 0.08")
    if gaps < 1:
        raise ValueError(f"gaps {gaps} must be at least 1")
    seen = outcomes(values, -1, total)
    if total is None:
        at_most, at_least = 1.0 + bound, 1.0 - bound
    else:
        # "gap >= bound" says that the sum of the differences is at least this integer. The bound is read as
        # it was written: 0.07 of 100 examples is 7, not the 8 that binary rounding would make of it.
        needed = math.ceil(Fraction(repr(float(bound))) * total)
        at_most, at_least = float(total + needed - 1), float(total - needed)
    above = _NEVER if only == "below" else _when(seen, at_most, total, alpha / gaps)
    below = _NEVER if only == "above" else _when(-seen[:above], at_least, total, alpha)
    if above == below == _NEVER:
        return "undecided", seen.size
    return ("above", above) if above <= below else ("below", below)


def _when(differences: Integers, hypothesis: float, total: int | None, alpha: float) -> int:
    """How many examples refute "the mean (sum) of `differences + 1` is at most `hypothesis`".

    A large number when these do not.
    """
    time = int(first_refuted(differences + 1, np.array([hypothesis]), total, alpha, GAP_STAKES)[0])
    return time if time <= differences.size else _NEVER
