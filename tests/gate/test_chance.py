"""What attacking some pairs again, drawn by chance, promises of all."""

import math
from collections import Counter

import pytest


def missed(total, forged, pairs):
    """The probability that this many pairs, drawn without replacement, hold no forged one."""
    return math.comb(total - forged, pairs) / math.comb(total, pairs)


def test_every_pair_is_as_likely_to_be_drawn_as_any_other():
    """What a pass means is reckoned from that: the draws miss a forged share as often as they should."""
    from robaudit.audit import Recompute
    from robaudit.audit.recompute import draw

    seeds, pairs = 2000, 16
    everything = [(attack, key) for attack in ("apgd-ce", "fab-t", "square") for key in range(74)]
    drawn = Counter(pair for seed in range(seeds) for pair in draw(everything, Recompute(pairs, seed)))
    expected = seeds * pairs / len(everything)
    assert set(drawn) == set(everything)
    assert max(abs(count - expected) for count in drawn.values()) < 5 * math.sqrt(expected)
    for forged in ({pair for pair in everything if pair[0] == "square"}, set(everything[::6])):
        found = (
            sum(forged.isdisjoint(draw(everything, Recompute(pairs, seed))) for seed in range(seeds)) / seeds
        )
        share = missed(len(everything), len(forged), pairs)
        assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / seeds)


@pytest.mark.parametrize("pairs", [1, 4, 16, 44, 90])
@pytest.mark.parametrize("total", [100, 223, 5000, 50_000])
def test_what_a_pass_promises_holds_in_files_of_every_size(total, pairs):
    from robaudit.audit.recompute import Recomputation, Repeated

    found = Recomputation(tuple(Repeated("square", k, "stands") for k in range(pairs)), total, 0, "robaudit")
    least = math.floor(found.found_share * total) + 1  # the fewest forged pairs that are more than that share
    assert missed(total, least, pairs) <= 0.01


def test_what_rounding_decides_is_no_forgery():
    from robaudit.audit.recompute import Recomputation, Repeated

    def found(*outcomes, engine="robaudit"):
        pairs = tuple(Repeated("square", k, outcome) for k, outcome in enumerate(outcomes))
        return Recomputation(pairs, 100, 0, engine)

    assert not found(*["stands"] * 14, "close", "close").failures()
    assert found(*["stands"] * 13, "close", "close", "close").failures()
    assert found(*["stands"] * 15, "breaks").failures()
    assert found("stands").found_share == pytest.approx(0.99)
    assert found(*["stands"] * 16).found_share == pytest.approx(1 - 0.01 ** (1 / 16))
    assert Recomputation(found("stands").pairs, 1, 0, "robaudit").found_share == 0
