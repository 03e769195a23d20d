from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from robaudit.stats import Interval, paired_gap, proportion
from robaudit.stats.fixed import _tails


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 50), (50, 50), (1, 50), (37, 128), (5329, 10_000)])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_proportion_is_scipys_exact_interval(successes: int, n: int, confidence: float) -> None:
    oracle = binomtest(successes, n).proportion_ci(confidence, method="exact")
    got = proportion(successes, n, confidence)
    assert (got.low, got.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)
    assert got.value == successes / n
    assert got.n == n


def test_proportion_covers_at_every_true_value() -> None:
    n = 30
    cells = [proportion(k, n, 0.95) for k in range(n + 1)]
    for p in np.linspace(0.0, 1.0, 201):
        inside = [cell.low <= p <= cell.high for cell in cells]
        assert binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.95 - 1e-12


def test_no_examples_say_nothing() -> None:
    assert proportion(0, 0, 0.99) == Interval(0.0, 0.0, 1.0, 0)
    assert paired_gap(0, 0, 0, 0.99) == Interval(0.0, -1.0, 1.0, 0)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_paired_gap_covers_at_every_mean_and_discordance(confidence: float) -> None:
    n = 14
    cells = [(plus, minus) for plus, minus in itertools.product(range(n + 1), repeat=2) if plus + minus <= n]
    intervals = [paired_gap(plus, minus, n, confidence) for plus, minus in cells]
    low = np.array([interval.low for interval in intervals])
    high = np.array([interval.high for interval in intervals])
    counts = np.array([(plus, minus, n - plus - minus) for plus, minus in cells])
    for share, lean in itertools.product(np.linspace(0.02, 1.0, 25), np.linspace(0.0, 1.0, 11)):
        gap = share * lean
        chances = [(share + gap) / 2, (share - gap) / 2, 1.0 - share]
        weights = multinomial.pmf(counts, n, np.maximum(chances, 0.0))
        # A limit that equals the true gap exactly may round to either side of it.
        coverage = weights[(low <= gap + 1e-9) & (gap - 1e-9 <= high)].sum()
        assert coverage >= confidence, (share, gap)


def test_tail_is_the_sum_over_all_outcomes() -> None:
    n, gap, share, seen = 12, 0.15, 0.5, (5, 1)

    def studentised(plus: int, minus: int) -> float:
        spread = max((plus + minus + 1) / (n + 2), gap) - gap**2
        return (plus - minus - n * gap) / math.sqrt(n * spread)

    chances = [(share + gap) / 2, (share - gap) / 2, 1 - share]
    brute = sum(
        multinomial.pmf([plus, minus, n - plus - minus], n, chances)
        for plus, minus in itertools.product(range(n + 1), repeat=2)
        if plus + minus <= n and studentised(plus, minus) >= studentised(*seen) - 1e-12
    )
    assert _tails(4, 6, n, gap, np.array([share]))[0] == pytest.approx(brute, rel=1e-9)


@pytest.mark.parametrize(
    ("plus", "minus", "n"), [(600, 100, 10_000), (6_000, 1_000, 10_000), (300, 250, 2_000)]
)
def test_paired_gap_is_close_to_the_normal_interval_for_many_examples(plus: int, minus: int, n: int) -> None:
    gap = (plus - minus) / n
    half = 2.5758 * math.sqrt(((plus + minus) / n - gap**2) / n)
    got = paired_gap(plus, minus, n, 0.99)
    assert got.low == pytest.approx(gap - half, abs=0.04 * half)
    assert got.high == pytest.approx(gap + half, abs=0.04 * half)


def test_paired_gap_without_discordant_pairs_is_not_a_point() -> None:
    for n in (1, 50, 1000):
        got = paired_gap(0, 0, n, 0.99)
        one_sided = 1.0 - 0.005 ** (1 / n)  # Clopper & Pearson's, were the sign known
        assert got.value == 0.0
        assert got.low == -got.high
        assert one_sided <= got.high <= 1.4 * one_sided


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)), st.sampled_from([0.9, 0.95, 0.99])
)
def test_paired_gap_flips_with_the_sign_and_holds_its_value(
    counts: tuple[int, int, int], confidence: float
) -> None:
    plus, minus, ties = counts
    n = plus + minus + ties
    got = paired_gap(plus, minus, n, confidence)
    flipped = paired_gap(minus, plus, n, confidence)
    assert (got.low, got.high) == (-flipped.high, -flipped.low)
    assert -1.0 <= got.low <= got.value <= got.high <= 1.0


def test_more_confidence_is_wider() -> None:
    loose, strict = paired_gap(30, 5, 200, 0.9), paired_gap(30, 5, 200, 0.999)
    assert strict.low < loose.low < loose.high < strict.high


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^successes 5"):
        proportion(5, 4, 0.99)
    with pytest.raises(ValueError, match=r"^plus 3 and minus 2"):
        paired_gap(3, 2, 4, 0.99)
    with pytest.raises(ValueError, match=r"^confidence 99 .*0\.99\?"):
        proportion(1, 4, 99)
