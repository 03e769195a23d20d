"""Betting against a hypothesised mean: the test behind every sequential statement of this room.

A sceptic doubts that the mean of a population of numbers in {0, 1, ..., u} is at most some value. Before
each example is drawn they bet that it will be large, at odds that are fair if the hypothesis is exactly true
and unfavourable if the mean is smaller still. If the hypothesis holds, their capital is a nonnegative
supermartingale that starts at 1, and by Ville's inequality it ever reaches 1/alpha with probability at
most alpha. So when it does, the hypothesis is refuted, whenever that happens and whyever one looked.

Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting",
https://arxiv.org/abs/2010.09686: section 4 for the capital process, section 5 for sampling without
replacement, appendix B.6 for spreading the capital over a fixed grid of bets instead of choosing one from the
past. A mixture of supermartingales is a supermartingale, so the grid changes the power and never the error;
nothing has to be estimated from the first few examples, which are all we have; and the capital falls
short of that of the best single bet, known in hindsight, by a factor at most the size of the grid (Cover's
universal portfolio; for confidence sequences, Orabona & Jun, https://arxiv.org/abs/2110.14099).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv

from robaudit.stats.interval import Floats, Integers

#: How many bets the capital is spread over. More change nothing measurable up to 10,000 examples.
BETS = 32
#: The ratio that stands for an example that the hypothesis makes impossible.
_IMPOSSIBLE = 1e300
#: What a ruined bet keeps, as a share of the best: far below rounding, but never 0, which could not recover.
_RUINED = 1e-200
#: Elements of one block of the computation: what fits in a core's cache.
_BLOCK = 1 << 16


def stakes(a: float, b: float) -> Floats:
    """The shares of their capital that the sceptic puts at stake: (BETS,), increasing, in (0, 1).

    They are the midpoints of equally likely slices of Beta(a, b); each starts with the same capital.
    """
    slices = (np.arange(BETS) + 0.5) / BETS
    return np.asarray(betaincinv(a, b, slices), dtype=np.float64)


#: For proportions, the spread that suits every true share about equally (Jeffreys' prior).
PROPORTION_STAKES = stakes(0.5, 0.5)
#: For gaps, more on bold bets: few pairs are discordant, and they decide clear cases quickly. Compared with
#: its neighbours in docs/results/coverage.md.
GAP_STAKES = stakes(1.0, 0.5)
#: For a share that is thought to be nearly one: three quarters of the capital on the boldest bets (Beta(3, 1/2)), and a
#: quarter as for any proportion, for where it is not.
SURVIVAL_STAKES = np.sort(np.concatenate([PROPORTION_STAKES[2::4], np.delete(stakes(3.0, 0.5), np.s_[2::4])]))


def first_refuted(
    values: Integers, hypotheses: Floats, total: int | None, alpha: float, bets: Floats
) -> Integers:
    """When each hypothesis is refuted.

    Args:
        values: (T,) integers >= 0 in audit order.
        hypotheses: (M,) each says that the mean (when `total` is None) or the sum (otherwise) of the
            population is at most this number.
        total: size of the population, drawn from without replacement; None for independent draws.
        alpha: the probability, in (0, 1), with which a true hypothesis may ever be refuted.
        bets: (B,) the stakes in (0, 1) that share the capital equally.

    Returns:
        (M,) int64: the number of examples, 1 to T, after which it is refuted; T + 1 when it is not.

    """
    found = np.full(hypotheses.shape, values.size + 1, dtype=np.int64)
    alive = np.arange(hypotheses.size)
    # The capital is `capital * exp(scale)`: without a scale it would vanish in a long audit.
    capital, scale = np.ones((hypotheses.size, bets.size)), np.zeros(hypotheses.size)
    seen = np.concatenate([[0], np.cumsum(values)])
    start = 0
    while start < values.size and alive.size:
        stop = min(values.size, start + max(16, _BLOCK // (alive.size * bets.size)))
        ratios = _ratios(values[start:stop], seen[start:stop], hypotheses[alive], total, start)
        # A product beyond 1e308 has refuted the hypothesis; one below 1e-308 is lost, which errs to the safe side.
        with np.errstate(over="ignore", under="ignore"):
            path = capital[:, None, :] * np.cumprod(1.0 - bets + bets * ratios[:, :, None], axis=1)
            reached = path.mean(axis=2) >= np.exp(math.log(1.0 / alpha) - scale)[:, None]
        reached |= ratios == _IMPOSSIBLE
        crossed = reached.any(axis=1)
        found[alive[crossed]] = start + 1 + reached[crossed].argmax(axis=1)
        capital, scale, alive = path[~crossed, -1], scale[~crossed], alive[~crossed]
        best = capital.max(axis=1)
        capital, scale = np.maximum(capital / best[:, None], _RUINED), scale + np.log(best)
        start = stop
    return found


def _ratios(values: Integers, seen: Integers, hypotheses: Floats, total: int | None, start: int) -> Floats:
    """Each value over the mean that the hypothesis leaves for it: (M, t).

    Without replacement that mean is what is left of the sum, shared among the examples that are left.
    """
    if total is None:
        expected = np.broadcast_to(hypotheses[:, None], (hypotheses.size, values.size))
        impossible = (expected <= 0.0) & (values > 0)
    else:
        rest = hypotheses[:, None] - seen
        expected = rest / (total - start - np.arange(values.size))
        impossible = values > rest
    # Where nothing is left, a zero is what the hypothesis foretells with certainty: the capital stays.
    some = expected > 0.0
    ratios = np.where(some, values / np.where(some, expected, 1.0), 1.0)
    return np.where(impossible, _IMPOSSIBLE, ratios)
