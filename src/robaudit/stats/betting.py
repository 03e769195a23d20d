"""Betting against a hypothesised mean: the test behind every sequential statement of this room.

A sceptic doubts that the mean of a population of numbers in {0, 1, ..., u} is at most some value. Before
each example is drawn they bet that it will be large, at odds that are fair if the hypothesis is exactly true
and unfavourable if the mean is smaller still. If the hypothesis holds, their capital is a nonnegative
supermartingale that starts at 1, and by Ville's inequality it ever reaches 1/alpha with probability at
most alpha. So when it does, the hypothesis is refuted, whenever that happens and whyever one looked.

Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting",
https://arxiv.org/abs/2010.09686: the capital process is their equation (22), sampling without replacement
their section 5. Where they choose one bet from the past, we spread the capital over a fixed grid of bets
(Cover's universal portfolio, see https://arxiv.org/abs/2110.14099): a mixture of supermartingales is one too,
and nothing has to be estimated from the first few examples, which are all we have.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv

from robaudit.stats.interval import Floats, Integers

#: How many bets the capital is spread over. More changes nothing measurable up to 10,000 examples.
BETS = 32
#: The capital is spread as Beta(1, 1/2): most of it on bold bets, which decide clear cases quickly, enough on
#: cautious ones to decide close cases at all. Compared with its neighbours in docs/results/coverage.md.
SPREAD = (1.0, 0.5)
#: A ratio no capital survives: stands for a hypothesis that an example has made impossible.
_IMPOSSIBLE = 1e300
#: Elements of one block of the computation: what fits in a core's cache.
_BLOCK = 1 << 16


def bet_grid() -> Floats:
    """The fractions of capital that are put at stake: (BETS,), increasing, each strictly inside (0, 1).

    They are the midpoints of equally likely slices of `SPREAD`, so each starts with the same share.
    """
    slices = (np.arange(BETS) + 0.5) / BETS
    return np.asarray(betaincinv(*SPREAD, slices), dtype=np.float64)


_STAKES = bet_grid()


def first_refuted(values: Integers, hypotheses: Floats, total: int | None, alpha: float) -> Integers:
    """When each hypothesis is refuted.

    Args:
        values: (T,) integers >= 0 in audit order.
        hypotheses: (M,) each says that the mean (when `total` is None) or the sum (otherwise) of the
            population is at most this number.
        total: size of the population, drawn from without replacement; None for independent draws.
        alpha: the probability, in (0, 1), with which a true hypothesis may ever be refuted.

    Returns:
        (M,) int64: the number of examples, 1 to T, after which it is refuted; T + 1 when it is not.

    """
    found = np.full(hypotheses.shape, values.size + 1, dtype=np.int64)
    alive = np.arange(hypotheses.size)
    capital = np.zeros((hypotheses.size, BETS))
    seen = np.concatenate([[0], np.cumsum(values)])
    start = 0
    while start < values.size and alive.size:
        stop = min(values.size, start + max(16, _BLOCK // (alive.size * BETS)))
        ratios = _ratios(values[start:stop], seen[start:stop], hypotheses[alive], total, start)
        path = capital[:, None, :] + np.cumsum(np.log1p(_STAKES * (ratios[:, :, None] - 1.0)), axis=1)
        reached = _reaches(path, math.log(1.0 / alpha))
        crossed = reached.any(axis=1)
        found[alive[crossed]] = start + 1 + reached[crossed].argmax(axis=1)
        capital, alive = path[~crossed, -1], alive[~crossed]
        start = stop
    return found


def _ratios(values: Integers, seen: Integers, hypotheses: Floats, total: int | None, start: int) -> Floats:
    """Each value over the mean that the hypothesis leaves for it: (M, t), equation (16) of 2010.09686.

    Without replacement that mean is what is left of the sum, shared among the examples that are left.
    """
    if total is None:
        expected = np.broadcast_to(hypotheses[:, None], (hypotheses.size, values.size))
    else:
        left = total - start - np.arange(values.size)
        expected = (hypotheses[:, None] - seen) / left
    # Nothing is left: a zero is what the hypothesis foretells with certainty, anything else is impossible.
    certain = np.where(values > 0, _IMPOSSIBLE, 1.0)
    possible = expected > 0.0
    return np.where(possible, values / np.where(possible, expected, 1.0), certain)


def _reaches(path: Floats, threshold: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where the mean capital over the bets, given as logarithms (M, t, BETS), is >= e^threshold: (M, t)."""
    best = path.max(axis=2)
    # The mean is at most the best and at least best/BETS, so almost everywhere the best alone settles it.
    reached = best >= threshold + math.log(BETS)
    unsure = (best >= threshold) & ~reached
    excess = path[unsure] - best[unsure][:, None]
    reached[unsure] = best[unsure] + np.log(np.exp(excess).mean(axis=1)) >= threshold
    return np.asarray(reached)
