from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.stats import Interval, gap_path, gap_sequence, proportion, proportion_sequence

outcome_lists = st.lists(st.integers(-1, 1), min_size=1, max_size=120)
Drawn = Callable[[float, float, int, int, int], np.ndarray]
unseen_counts = st.one_of(st.none(), st.integers(0, 500))


@settings(max_examples=50, deadline=None)
@given(outcome_lists, unseen_counts)
def test_gap_holds_its_value_flips_with_the_sign_and_respects_what_is_unseen(
    values: list[int], unseen: int | None
) -> None:
    total = None if unseen is None else len(values) + unseen
    got = gap_sequence(np.array(values), total, 0.95)
    flipped = gap_sequence(-np.array(values), total, 0.95)
    assert (got.value, got.low, got.high) == (-flipped.value, -flipped.high, -flipped.low)
    assert -1.0 <= got.low <= got.value <= got.high <= 1.0
    if total is not None and unseen is not None:
        assert got.low >= (sum(values) - unseen) / total - 1e-12
        assert got.high <= (sum(values) + unseen) / total + 1e-12


@settings(max_examples=40, deadline=None)
@given(outcome_lists, unseen_counts)
def test_proportion_turns_upside_down(values: list[int], unseen: int | None) -> None:
    ones = np.array(values) == 1
    total = None if unseen is None else ones.size + unseen
    got = proportion_sequence(ones, total, 0.95)
    inverse = proportion_sequence(~ones, total, 0.95)
    assert 0.0 <= got.low <= got.value <= got.high <= 1.0
    assert (1.0 - inverse.high, 1.0 - inverse.low) == pytest.approx((got.low, got.high), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(outcome_lists)
def test_after_the_last_example_nothing_is_uncertain(values: list[int]) -> None:
    mean = float(np.mean(values))
    assert gap_sequence(values, len(values), 0.99) == Interval(mean, mean, mean, len(values))
    share = float(np.mean(np.array(values) == 1))
    expected = Interval(share, share, share, len(values))
    assert proportion_sequence(np.array(values) == 1, len(values), 0.99) == expected


@pytest.mark.parametrize("total", [None, 600, 10_000])
@pytest.mark.parametrize("chances", [(0.3, 0.02), (0.0, 0.0), (0.05, 0.35)])
def test_the_interval_only_shrinks(total: int | None, chances: tuple[float, float], drawn: Drawn) -> None:
    values = drawn(*chances, total or 10_000, 300, 2)
    previous = Interval(0.0, -1.0, 1.0, 0)
    for t in range(0, 301, 20):
        now = gap_sequence(values[:t], total, 0.99)
        # The mean of a sample that strays outside would widen it; these do not.
        assert previous.low <= now.low <= now.high <= previous.high
        previous = now


@pytest.mark.parametrize("total", [None, 400, 10_000])
def test_path_follows_the_sequence(total: int | None, drawn: Drawn) -> None:
    values = drawn(0.2, 0.05, total or 10_000, 400, 3)
    low, high = gap_path(values, total, 0.99)
    assert low.shape == high.shape == values.shape
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    for t in (1, 7, 50, 200, 400):
        exact = gap_sequence(values[:t], total, 0.99)
        assert exact.low - 0.02 <= low[t - 1] <= exact.low + 1e-12
        assert exact.high - 1e-12 <= high[t - 1] <= exact.high + 0.02
    assert (low[-1], high[-1]) == (exact.low, exact.high)


def test_without_examples() -> None:
    for total in (None, 0, 10_000):
        assert gap_sequence([], total, 0.99) == Interval(0.0, -1.0, 1.0, 0)
        assert proportion_sequence([], total, 0.99) == Interval(0.0, 0.0, 1.0, 0)
        low, high = gap_path([], total, 0.99)
        assert low.size == high.size == 0


def test_a_stray_sample_widens_the_interval_instead_of_leaving_it() -> None:
    values = np.repeat([1, -1], 60)  # in no random order: the first half refutes what the second half says
    got = gap_sequence(values, 10_000, 0.99)
    assert got.low <= got.value == 0.0 <= got.high
    assert got.high - got.low > 0.1
    low, high = gap_path(values, 10_000, 0.99)
    assert (low <= high).all()


@pytest.mark.parametrize(("plus", "minus"), [(0.3, 0.1), (0.02, 0.0)])
def test_stopping_at_any_time_keeps_the_coverage(plus: float, minus: float, drawn: Drawn) -> None:
    # The interval after 150 of 300 is the intersection of all before: it misses if any of them did.
    total, runs, missed = 300, 200, 0
    truth = (round(plus * total) - round(minus * total)) / total
    for seed in range(runs):
        got = gap_sequence(drawn(plus, minus, total, 150, seed), total, 0.9)
        missed += not got.low <= truth <= got.high
    assert proportion(missed, runs, 0.99).low <= 0.1


def test_finite_population_is_tighter(drawn: Drawn) -> None:
    values = drawn(0.2, 0.05, 1000, 500, 4)
    finite, infinite = gap_sequence(values, 1000, 0.99), gap_sequence(values, None, 0.99)
    assert finite.high - finite.low < 0.85 * (infinite.high - infinite.low)


def test_price_of_stopping_any_time_is_small(drawn: Drawn) -> None:
    # Against Clopper & Pearson's interval, which holds at one number of examples only.
    values = np.abs(drawn(0.5, 0.0, 10_000, 1000, 5))
    sequence = proportion_sequence(values, 10_000, 0.99)
    fixed = proportion(int(values.sum()), 1000, 0.99)
    assert sequence.high - sequence.low < 1.5 * (fixed.high - fixed.low)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^2 is not an outcome"):
        gap_sequence([0, 2], 10, 0.99)
    with pytest.raises(ValueError, match=r"^-1 is not an outcome"):
        proportion_sequence([0, -1], 10, 0.99)
    with pytest.raises(ValueError, match=r"^nan is not an outcome"):
        gap_sequence([0.0, float("nan")], 10, 0.99)
    with pytest.raises(ValueError, match=r"^total 2 "):
        gap_sequence([0, 1, 1], 2, 0.99)
    with pytest.raises(ValueError, match=r"^values of shape \(1, 2\)"):
        gap_sequence([[0, 1]], 10, 0.99)
    with pytest.raises(ValueError, match=r"^confidence 1 "):
        gap_sequence([0, 1], 10, 1.0)
