"""Shapes of tensors as patterns: letters stand for sizes, the same one everywhere."""

from __future__ import annotations

import pytest

from robaudit.inputs.recovery.residual_reading import unify


@pytest.mark.parametrize(
    ("pattern", "shape", "known", "sizes"),
    [
        ("o i 3 3", (16, 8, 3, 3), {"i": 8}, {"i": 8, "o": 16}),
        ("o o 3 3", (16, 16, 3, 3), {"o": 16}, {"o": 16}),
        ("o i k k", (16, 8, 4, 4), {}, {"o": 16, "i": 8, "k": 4}),
        ("o", (16,), {}, {"o": 16}),
        ("o i 3 3", (16, 8, 3, 3), {"i": 4}, None),
        ("o i 3 3", (16, 8, 1, 1), {"i": 8}, None),
        ("o i k k", (16, 8, 3, 4), {"i": 8}, None),
        ("o o 3 3", (16, 8, 3, 3), {}, None),
        ("o i", (16, 8, 3, 3), {}, None),
    ],
)
def test_a_letter_stands_for_one_size(
    pattern: str, shape: tuple[int, ...], known: dict[str, int], sizes: dict[str, int] | None
) -> None:
    before = dict(known)
    assert unify(pattern, shape, known) == sizes
    assert known == before
