from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from robaudit.stats.betting import BETS, GAP_STAKES, PROPORTION_STAKES, first_refuted


def plain(values: list[int], hypothesis: float, total: int | None, alpha: float, bets: np.ndarray) -> int:
    """The definition, an example at a time, in ordinary numbers."""
    capital = [1.0] * len(bets)
    seen = 0
    for t, value in enumerate(values, start=1):
        expected = hypothesis if total is None else (hypothesis - seen) / (total - t + 1)
        seen += value
        if (total is not None and seen > hypothesis) or (expected <= 0 and value > 0):
            return t
        if expected > 0:
            capital = [c * (1 + f * (value / expected - 1)) for c, f in zip(capital, bets, strict=True)]
        if sum(capital) / len(bets) >= 1 / alpha:
            return t
    return len(values) + 1


@pytest.mark.parametrize("bets", [GAP_STAKES, PROPORTION_STAKES], ids=["gap", "proportion"])
@pytest.mark.parametrize("total", [None, 400, 1500])
def test_refutes_when_the_definition_does(total: int | None, bets: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    for chances in ([0.1, 0.8, 0.1], [0.02, 0.6, 0.38], [0.9, 0.0, 0.1]):
        values = rng.choice(3, p=chances, size=400)
        means = np.linspace(0.0, 1.9, 14)
        hypotheses = means if total is None else np.floor(means * total)
        got = first_refuted(values, hypotheses, total, 0.01, bets)
        assert got.tolist() == [plain(values.tolist(), h, total, 0.01, bets) for h in hypotheses]
        assert (np.diff(got) >= 0).all()  # what refutes a mean refutes every smaller one


def test_one_bet_in_closed_form() -> None:
    stake, mean, alpha = 0.6, 0.25, 0.01
    ones = np.ones(50, dtype=np.int64)
    expected = math.ceil(math.log(1 / alpha) / math.log(1 - stake + stake / mean))
    assert first_refuted(ones, np.array([mean]), None, alpha, np.array([stake]))[0] == expected


@pytest.mark.parametrize("alpha", [0.5, 0.2])
@pytest.mark.parametrize("bets", [GAP_STAKES, PROPORTION_STAKES], ids=["gap", "proportion"])
def test_no_population_has_too_many_orders_that_refute_the_truth(alpha: float, bets: np.ndarray) -> None:
    for population in itertools.combinations_with_replacement(range(3), 6):
        truth = np.array([float(sum(population))])
        orders = list(itertools.permutations(population))
        distinct = sorted(set(orders))  # each distinct order is equally likely
        refuted = [
            first_refuted(np.array(order), truth, len(order), alpha, bets)[0] <= len(order)
            for order in distinct
        ]
        assert np.mean(refuted) <= alpha, population


def test_the_stakes_never_ruin_anyone() -> None:
    for bets in (GAP_STAKES, PROPORTION_STAKES):
        assert bets.shape == (BETS,)
        assert (np.diff(bets) > 0).all()
        assert bets[0] > 0.0
        assert bets[-1] < 1.0


def test_no_examples_or_hypotheses() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert first_refuted(nothing, np.array([0.0, 1.0]), None, 0.01, GAP_STAKES).tolist() == [1, 1]
    assert first_refuted(np.ones(3, dtype=np.int64), np.zeros(0), 9, 0.01, GAP_STAKES).size == 0
