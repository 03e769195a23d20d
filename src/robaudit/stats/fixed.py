"""Intervals for a number of examples that was fixed before looking, as with `--examples all`.

The examples are independent draws from the distribution that the data set was itself drawn from, and the
statement is about that distribution.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtrc, betaincinv, gammaln, xlog1py, xlogy

from robaudit.stats.interval import Floats, Integers, Interval, error_rate

#: The share of the error that `paired_gap` spends on bounding the share of discordant pairs.
_NUISANCE_ERROR = 0.05
#: Discordant pairs added to those seen where their share is estimated: without any, its variance would be 0.
_PRIOR_PAIRS = 1.0
#: Shares of discordant pairs at which the tail is maximised.
_NUISANCE_GRID = 25
#: The limits are bisected to within 2^-17 of the range, less than 1e-5, and rounded outwards.
_HALVINGS = 17


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
    """Interval for the mean of differences in {-1, 0, 1}, from exact tail probabilities.

    Let S be the sum of the differences and D the number that are not 0. For a mean d and a share p of
    such discordant pairs, D ~ Binomial(n, p) and, given D, the number of +1 ~ Binomial(D, (1 + d/p) / 2). The
    mean d is refuted from above when a studentised difference

        t = (S - n d) / sqrt(n (p_D - d^2)),    p_D = max((D + 1) / (n + 2), |d|),

    as large as the one seen has a probability below its share of the error under every plausible p. Which
    statistic orders the outcomes matters for the width alone: coverage comes from the exact tail. "Plausible"
    are the p in Clopper & Pearson's interval with error beta; adding beta to the two tails keeps the total
    at alpha (Berger & Boos, "P values maximized over a confidence set for the nuisance parameter", JASA 89,
    1994, 1012-1016; the studentised difference is in the manner of Tango, Statistics in Medicine 17, 1998,
    891-908). The maximum is taken over a grid, the one approximation; `benchmarks/coverage.py` enumerates.

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
    low = _lower_gap(plus - minus, plus + minus, n, alpha)
    return Interval((plus - minus) / n, low, -_lower_gap(minus - plus, plus + minus, n, alpha), n)


def _upper_limit(successes: int, n: int, alpha: float) -> float:
    """One-sided upper limit of a proportion: the p at which P(X <= successes) = alpha."""
    return 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1.0 - alpha))


def _lower_gap(difference: int, discordant: int, n: int, alpha: float) -> float:
    """The largest mean still refuted by S = `difference` and D = `discordant`, found by bisection."""
    beta = _NUISANCE_ERROR * alpha
    floor = 1.0 - _upper_limit(n - discordant, n, beta / 2)
    ceiling = _upper_limit(discordant, n, beta / 2)
    # Outside [-ceiling, ceiling] every mean needs more discordant pairs than are plausible.
    refuted, standing = -ceiling, difference / n
    for _ in range(_HALVINGS):
        middle = (refuted + standing) / 2
        shares = np.linspace(max(abs(middle), floor), ceiling, _NUISANCE_GRID)
        if _tails(difference, discordant, n, middle, shares).max() < (alpha - beta) / 2:
            refuted = middle
        else:
            standing = middle
    return refuted


def _tails(difference: int, discordant: int, n: int, gap: float, shares: Floats) -> Floats:
    """Probability of a studentised difference at least as large as the one seen, for each share of pairs.

    Args:
        difference: S.
        discordant: D.
        n: number of examples.
        gap: the mean d.
        shares: (P,) increasing, each at least |d|.

    Returns:
        (P,) probabilities.

    """
    # What lies further than eight standard deviations out has a probability below 1e-12.
    spread = 8.0 * math.sqrt(n * float(shares[-1]) * (1.0 - float(shares[0]))) + 20.0
    pairs = np.arange(max(0, int(n * shares[0] - spread)), min(n, int(n * shares[-1] + spread)) + 1)
    here = _spread_of_sum(np.array([discordant]), n, gap)[0]
    threshold = n * gap + (difference - n * gap) * _spread_of_sum(pairs, n, gap) / here
    # S = 2 * plus - D must reach the threshold. The margin keeps the outcome seen inside its own tail.
    needed = np.ceil((pairs + threshold) / 2 - 1e-9)
    p = shares[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        plus_share = np.where(p > 0.0, np.clip((1.0 + gap / p) / 2, 0.0, 1.0), 0.5)
    tails = np.broadcast_to(needed <= 0, (shares.size, pairs.size)).astype(np.float64)
    inside = (needed > 0) & (needed <= pairs)
    tails[:, inside] = bdtrc(needed[inside] - 1, pairs[inside], plus_share)
    choose = gammaln(n + 1) - gammaln(pairs + 1) - gammaln(n - pairs + 1)
    weights = np.exp(choose + xlogy(pairs, p) + xlog1py(n - pairs, -p))
    return np.asarray((weights * tails).sum(axis=1))


def _spread_of_sum(pairs: Integers, n: int, gap: float) -> Floats:
    """Estimated standard deviation of S, given the number of discordant pairs: same shape as `pairs`."""
    share = np.maximum((pairs + _PRIOR_PAIRS) / (n + 2 * _PRIOR_PAIRS), abs(gap))
    return np.asarray(np.sqrt(n * np.maximum(share - gap**2, 1e-12)))
