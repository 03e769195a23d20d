from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.stats import bounded_gap_sequence, decide, gap_sequence, proportion

Drawn = Callable[[float, float, int, int, int], np.ndarray]
BOUND = 0.08


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 1), min_size=1, max_size=60), st.sampled_from([-0.5, 0.0, 0.07, 0.08, 1.0]))
def test_all_examples_decide_and_decide_rightly(values: list[int], bound: float) -> None:
    n = len(values)
    got = decide(values, n, bound, 0.999)
    assert got.kind != "undecided"
    if got.after == n:  # nothing but the population itself decided
        assert got.kind == ("above" if round(sum(values) * 100) >= round(bound * 100 * n) else "below")


@pytest.mark.parametrize("total", [None, 500, 10_000])
@pytest.mark.parametrize("chances", [(0.3, 0.0), (0.0, 0.0), (0.05, 0.3), (0.12, 0.02), (0.02, 0.02)])
def test_the_first_decision_is_final(total: int | None, chances: tuple[float, float], drawn: Drawn) -> None:
    values = drawn(*chances, total or 10_000, 500, 1)
    whole = decide(values, total, BOUND, 0.99)
    for t in (0, 10, 40, whole.after - 1, whole.after, 499):
        part = decide(values[:t], total, BOUND, 0.99)
        if whole.kind == "undecided" or t < whole.after:
            assert (part.kind, part.after) == ("undecided", t)
        else:
            assert part == whole


@pytest.mark.parametrize("total", [None, 400, 10_000])
def test_limits_agree_with_the_decision_and_come_before_the_interval(total: int | None, drawn: Drawn) -> None:
    for seed, chances in enumerate([(0.3, 0.0), (0.0, 0.0), (0.2, 0.02), (0.03, 0.03), (0.1, 0.4)]):
        values = drawn(*chances, total or 10_000, 400, seed)
        got = decide(values, total, BOUND, 0.99)
        if got.kind == "above":
            assert got.low >= BOUND
        if got.kind == "below":
            assert got.high <= BOUND
        interval = gap_sequence(values[: max(got.after - 1, 0)], total, 0.99)
        assert interval.low < BOUND <= interval.high + 1e-9
        at = gap_sequence(values[: got.after], total, 0.99)
        assert at.low <= got.low + 1e-6
        assert got.high <= at.high + 1e-6


@pytest.mark.parametrize(
    ("chances", "kind", "typical"),
    [((0.30, 0.0), "above", 55), ((0.0, 0.0), "below", 70), ((0.01, 0.01), "below", 80)],
)
def test_clear_cases_need_few_examples(
    chances: tuple[float, float], kind: str, typical: int, drawn: Drawn
) -> None:
    decisions = [decide(drawn(*chances, 10_000, 400, seed), 10_000, BOUND, 0.99) for seed in range(60)]
    assert all(decision.kind == kind for decision in decisions)
    assert np.median([decision.after for decision in decisions]) <= typical


@pytest.mark.parametrize("total", [100, 300])
@pytest.mark.parametrize(("offset", "wrong"), [(0, "below"), (-1, "above")])
@pytest.mark.parametrize("ties", [0.0, 0.5, 0.9])
def test_error_at_the_bound_is_within_alpha(total: int, offset: int, wrong: str, ties: float) -> None:
    # The hardest truths: exactly at the bound, and one example short of it.
    needed = round(BOUND * total) + offset
    downs = round((total - needed) * (1.0 - ties) / 2)
    population = np.repeat([1, -1, 0], [needed + downs, downs, total - needed - 2 * downs])
    rng, runs = np.random.default_rng(7), 200
    errors = sum(decide(rng.permutation(population), total, BOUND, 0.9).kind == wrong for _ in range(runs))
    assert proportion(errors, runs, 0.99).low <= 0.1


def test_bound_is_read_as_written() -> None:
    order = np.random.default_rng(0).permutation(100)
    seven = np.repeat([1, 0], [7, 93])[order]  # 0.07 * 100 is 7.000000000000001 in binary
    assert decide(seven, 100, 0.07, 0.999).kind == "above"
    six = np.repeat([1, 0], [6, 94])[order]
    assert decide(six, 100, 0.07, 0.999).kind == "below"


def test_several_gaps_share_the_error_of_above_only(drawn: Drawn) -> None:
    up, down = drawn(0.3, 0.0, 10_000, 300, 0), drawn(0.0, 0.0, 10_000, 300, 0)
    assert decide(up, 10_000, BOUND, 0.98, gaps=2).after == decide(up, 10_000, BOUND, 0.99).after
    assert decide(down, 10_000, BOUND, 0.99, gaps=2).after == decide(down, 10_000, BOUND, 0.99).after


def test_without_examples() -> None:
    got = decide([], 10_000, BOUND, 0.99)
    assert (got.kind, got.after, got.low, got.high) == ("undecided", 0, -1.0, 1.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^bound 8 "):
        decide([0, 1], 10, 8, 0.99)
    with pytest.raises(ValueError, match=r"^gaps 0 "):
        decide([0, 1], 10, BOUND, 0.99, gaps=0)


@pytest.mark.parametrize("total", [None, 400])
def test_bounds_of_the_values_decide_no_earlier_and_never_otherwise(total):
    """What is known in part stands for less than the whole: the same side, or none, and later."""
    draw = np.random.default_rng(0)
    for plus, minus in ((0.4, 0.02), (0.2, 0.1), (0.02, 0.02), (0.1, 0.3)):
        for unknown in (0.1, 0.5):
            values = draw.choice([1, -1, 0], p=[plus, minus, 1 - plus - minus], size=400)
            hidden = draw.random(400) < unknown
            low, high = np.where(hidden, values - 1, values), np.where(hidden, values + 1, values)
            whole = {side: decide(values, total, 0.08, 0.99, only=side) for side in ("above", "below")}
            for side, bounds in (("above", low.clip(-1)), ("below", high.clip(max=1))):
                found = decide(bounds, total, 0.08, 0.99, only=side)
                assert found.kind in (side, "undecided")
                if found.kind == side:
                    assert whole[side].kind == side
                    assert whole[side].after <= found.after
            limits = bounded_gap_sequence(low.clip(-1), high.clip(max=1), total, 0.99)
            exact = gap_sequence(values, total, 0.99)
            assert limits[0] <= exact.low
            assert limits[1] >= exact.high


@pytest.mark.parametrize("seed", range(6))
def test_limits_of_bounded_gaps_only_shrink(seed):
    """What has been refuted stays refuted when more examples are known in part."""
    draw = np.random.default_rng(seed)
    known = draw.choice([0, 1, -1], p=[0.95, 0.03, 0.02], size=150)
    low = np.concatenate([known, np.full(150, -1)])
    high = np.concatenate([known, np.full(150, 1)])
    limits = [bounded_gap_sequence(low[:t], high[:t], 300, 0.99) for t in range(0, 301, 10)]
    lows, highs = np.array(limits).T
    assert (np.diff(lows) >= -1e-12).all()
    assert (np.diff(highs) <= 1e-12).all()
    assert lows[-1] < known.sum() / 300 + 0.2
    assert highs[-1] < 0.4
