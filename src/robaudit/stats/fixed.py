"""Intervals for a number of examples that was fixed before looking, as with `--examples all`.

The examples are independent draws from the distribution that the data set was itself drawn from, and the
statement is about that distribution.
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtrc, betaincinv, gammaln, xlog1py, xlogy

from robaudit.stats.interval import Floats, Interval, error_rate

#: The share of the error that `paired_gap` spends on bounding the share of discordant pairs.
_NUISANCE_SHARE = 0.05
#: Shares of discordant pairs at which the tail is maximised.
_NUISANCE_GRID = 33
#: The limits are bisected to within 2^-20 of the range and rounded outwards.
_HALVINGS = 21


def proportion(successes: int, n: int, confidence: float) -> Interval:
    """Clopper & Pearson's exact two-sided interval for a proportion (Biometrika 26, 1934, p. 404).

    Args:
        successes: in 0..n.
        n: number of examples, >= 0.
        confidence: in (0, 1); coverage is at least this for every true proportion.

    """
    alpha = error_rate(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"successes {successes} must be between 0 and n = {n}")
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0)
    low = 1.0 - _upper_limit(n - successes, n, alpha / 2)
    return Interval(successes / n, low, _upper_limit(successes, n, alpha / 2), n)


def paired_gap(plus: int, minus: int, n: int, confidence: float) -> Interval:
    """Interval for the mean of differences in {-1, 0, 1}: exact tails, maximised over the nuisance.

    With p the share of discordant pairs (difference not 0) and d the mean, the tail of the sum S of the
    differences is computed exactly from D ~ Binomial(n, p) and, given D, the number of +1 ~
    Binomial(D, (1 + d/p) / 2). A mean d is refuted when the largest tail over the p that are plausible is
    below its share of alpha. "Plausible" is below Clopper & Pearson's upper limit with error beta;
    adding beta to the two tails keeps the total at alpha: Berger & Boos, "P values maximized over a
    confidence set for the nuisance parameter", JASA 89 (1994) 1012-1016.

    Args:
        plus: number of examples with difference +1.
        minus: number with difference -1; `plus + minus` in 0..n.
        n: number of examples, >= 0.
        confidence: in (0, 1); coverage is at least this for every mean and every share of discordant pairs.

    """
    alpha = error_rate(confidence)
    if plus < 0 or minus < 0 or plus + minus > n:
        raise ValueError(f"plus {plus} and minus {minus} must be at least 0 and add up to at most n = {n}")
    if n == 0:
        return Interval(0.0, -1.0, 1.0, 0)
    beta = _NUISANCE_SHARE * alpha
    ceiling = _upper_limit(plus + minus, n, beta)
    tail = (alpha - beta) / 2
    value = (plus - minus) / n
    low = _lower_gap(plus - minus, n, ceiling, tail)
    return Interval(value, low, -_lower_gap(minus - plus, n, ceiling, tail), n)


def _upper_limit(successes: int, n: int, alpha: float) -> float:
    """One-sided upper limit of a proportion: the p at which P(X <= successes) = alpha."""
    return 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1.0 - alpha))


def _lower_gap(difference: int, n: int, ceiling: float, tail: float) -> float:
    """The largest mean still refuted by a sum as large as `difference`, found by bisection."""
    refuted, standing = -ceiling, difference / n
    for _ in range(_HALVINGS):
        middle = (refuted + standing) / 2
        if _largest_tail(difference, n, middle, ceiling) < tail:
            refuted = middle
        else:
            standing = middle
    return refuted


def _largest_tail(difference: int, n: int, gap: float, ceiling: float) -> float:
    """P(S >= difference) for mean `gap`, maximised over shares of discordant pairs in [|gap|, ceiling]."""
    shares = np.linspace(abs(gap), ceiling, _NUISANCE_GRID)
    return float(_tails(difference, n, gap, shares).max())


def _tails(difference: int, n: int, gap: float, shares: Floats) -> Floats:
    """P(S >= difference) for each share of discordant pairs (P,), each at least |gap|; returns (P,)."""
    spread = 10.0 * np.sqrt(n * shares.max()) + 40.0  # what lies outside has probability below 1e-12
    first = max(0, int(n * shares.min() - spread))
    discordant = np.arange(first, min(n, int(n * shares.max() + spread)) + 1)
    choose = gammaln(n + 1) - gammaln(discordant + 1) - gammaln(n - discordant + 1)
    p = shares[:, None]
    weights = np.exp(choose + xlogy(discordant, p) + xlog1py(n - discordant, -p))
    with np.errstate(invalid="ignore", divide="ignore"):
        plus_share = np.where(p > 0, np.clip((1.0 + gap / p) / 2, 0.0, 1.0), 0.5)
    # S = 2 * plus - discordant >= difference, so plus must be at least this.
    needed = np.ceil((discordant + difference) / 2)
    inside = (needed > 0) & (needed <= discordant)
    tails = np.where(needed <= 0, 1.0, 0.0) * np.ones_like(p)
    tails[:, inside] = bdtrc(needed[inside] - 1, discordant[inside], plus_share)
    return np.asarray((weights * tails).sum(axis=1))
