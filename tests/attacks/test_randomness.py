"""Philox against the published vectors; draws that do not know the batch."""

import pytest
import torch

from robaudit.attacks.randomness import Draws, philox

# Known answers of the Random123 distribution for philox4x32-10.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    words = philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in words) == expected


def test_a_draw_depends_on_example_and_step_alone():
    draws = Draws(seed=3, attack="square")
    ids = torch.tensor([5, 9, 2**40 + 1])
    steps = torch.tensor([0, 7, 7])
    together = draws.uniform(ids, steps, 10)
    for row in range(3):
        assert torch.equal(draws.uniform(ids[row : row + 1], steps[row : row + 1], 10)[0], together[row])


def test_seed_attack_example_and_step_all_matter():
    ids, base = torch.tensor([1]), Draws(0, "square").uniform(torch.tensor([1]), 0, 8)
    others = [
        Draws(1, "square").uniform(ids, 0, 8),
        Draws(0, "apgd-ce").uniform(ids, 0, 8),
        Draws(0, "square").uniform(ids + 1, 0, 8),
        Draws(0, "square").uniform(ids, 1, 8),
    ]
    assert all(not torch.equal(base, other) for other in others)


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    Draws(0, "a").normal(torch.arange(4), 0, 33)
    assert torch.equal(before, torch.get_rng_state())


def test_distributions():
    draws, ids = Draws(0, "a"), torch.arange(500)
    uniform = draws.uniform(ids, 0, 401).flatten()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(float(uniform.mean()) - 0.5) < 4 * (1 / 12 / len(uniform)) ** 0.5
    normal = draws.normal(ids, 0, 401).flatten()
    assert abs(float(normal.mean())) < 4 / len(normal) ** 0.5
    assert abs(float(normal.var()) - 1) < 4 * (2 / len(normal)) ** 0.5
    signs = draws.signs(ids, 0, 401)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 4 / signs.numel() ** 0.5
