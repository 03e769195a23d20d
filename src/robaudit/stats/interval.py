"""The one shape of a number with its uncertainty, and the checks every function of this room shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval: `low <= value <= high`.

    Attributes:
        value: the observed mean of the `n` examples; 0.0 when there are none.
        low: the lower limit; the smallest possible value (0 or -1) when there are no examples.
        high: the upper limit; the largest possible value, 1, when there are no examples.
        n: how many examples were seen.
        method: `counted` where each of them was, `estimated` where a sample stands for some.

    """

    value: float
    low: float
    high: float
    n: int
    method: Literal["counted", "estimated"] = "counted"


def error_rate(confidence: float) -> float:
    """`1 - confidence`, the share of audits that the interval may miss the truth in.

    Raises:
        ValueError: `confidence` is not strictly between 0 and 1.

    """
    if not 0.0 < confidence < 1.0:
        hint = f"; did you mean {confidence / 100:g}?" if 1.0 < confidence < 100.0 else ""
        raise ValueError(f"confidence {confidence:g} must be between 0 and 1, for example 0.99{hint}")
    return 1.0 - confidence


def outcomes(values: ArrayLike, smallest: int, total: int | None) -> Integers:
    """`values` as integers, checked.

    Args:
        values: (t,) numbers in {smallest, ..., 1}, in audit order; bool is accepted.
        smallest: 0 for accuracies, -1 for paired differences.
        total: size of the population, at least t; None when it is infinite.

    Returns:
        (t,) int64.

    Raises:
        ValueError: a value outside the set, the wrong number of dimensions, or more values than population.

    """
    raw = np.asarray(values)
    if raw.ndim != 1:
        raise ValueError(f"values of shape {raw.shape} must be one-dimensional, an example each")
    if raw.size == 0:
        raw = raw.astype(np.int64)
    allowed = list(range(smallest, 2))
    if not np.isin(raw, allowed).all():
        wrong = raw[~np.isin(raw, allowed)][0]
        raise ValueError(f"{wrong} is not an outcome; values must be in {allowed}")
    if total is not None and total < raw.size:
        raise ValueError(f"total {total} must be at least the number of values, {raw.size}")
    return raw.astype(np.int64)
