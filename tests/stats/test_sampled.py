"""The share of survivors from a sample of the candidates: exact where all are known, and right as often as promised."""

import numpy as np
import pytest

from robaudit.stats import draws_wanted, sampled_share


def test_with_every_candidate_known_it_is_counted():
    found = sampled_share([1, 0, 1], [1, 0, 1], 3, 10, 0.99)
    assert (found.value, found.low, found.high, found.n, found.method) == (0.2, 0.2, 0.2, 10, "counted")
    found = sampled_share([1, 0, 0], [1, 0, 1], 3, 10, 0.99)
    assert (found.low, found.high) == (0.1, 0.2), "one gave no usable answer"


def test_without_a_draw_it_is_all_that_can_be():
    found = sampled_share([], [], 40, 100, 0.99)
    assert (found.low, found.high, found.method) == (0.0, 0.4, "estimated")
    assert sampled_share([], [], 0, 100, 0.99).high == 0.0


def test_what_is_known_bounds_it():
    """This many survivors are seen, and this many breaks."""
    values = [1] * 30 + [0] * 5
    found = sampled_share(values, values, 50, 200, 0.99)
    assert 30 / 200 <= found.low <= found.value <= found.high <= 45 / 200


@pytest.mark.parametrize(
    "wrong", [([1, 0], [0, 0], 5, 9), ([1], [1], 0, 9), ([1], [1], 10, 9), ([2], [2], 5, 9)]
)
def test_bad_numbers_are_refused(wrong):
    least, most, candidates, total = wrong
    with pytest.raises(ValueError):
        sampled_share(least, most, candidates, total, 0.99)


@pytest.mark.parametrize("breaks", [0, 3, 40, 100, 199])
def test_the_truth_is_excluded_at_any_stop_as_seldom_as_promised(breaks):
    rng, confidence, runs, missed = np.random.default_rng(breaks), 0.9, 60, 0
    values = np.repeat([0, 1], [breaks, 200 - breaks])
    for _ in range(runs):
        order = rng.permutation(values)
        for t in (3, 8, 20, 50, 120, 199):
            found = sampled_share(order[:t], order[:t], 200, 500, confidence)
            if not found.low - 1e-9 <= values.sum() / 500 <= found.high + 1e-9:
                missed += 1
                break
    assert missed <= 12, "more than 10 % of 60 by what chance explains at 99 %"


@pytest.mark.parametrize(
    "candidates, within, breaks", [(400, 0.02, 0), (400, 0.02, 4), (900, 0.01, 0), (900, 0.03, 45)]
)
def test_the_draws_that_are_wanted_are_about_those_that_it_takes(candidates, within, breaks):
    rng, needed = np.random.default_rng(breaks), []
    values = np.repeat([0, 1], [breaks, candidates - breaks])
    for _ in range(8):
        order, t = rng.permutation(values), 0
        while True:
            found = sampled_share(order[:t], order[:t], candidates, 1000, 0.99)
            if found.high - found.low <= 2 * within:
                break
            t += 8
        needed.append(t)
    thought = draws_wanted(candidates, breaks, 1000, within, 0.99)
    assert 0.6 * np.median(needed) <= thought <= 1.7 * np.median(needed)


def test_no_more_draws_are_wanted_than_there_are_candidates():
    assert draws_wanted(0, 1.0, 1000, 0.01, 0.99) == 0
    assert draws_wanted(50, 20, 1000, 1e-4, 0.99) <= 50
    assert draws_wanted(50, 0, 1000, 0.5, 0.99) <= 50
