"""Counts as people write them."""

from __future__ import annotations


def examples(count: float) -> str:
    """`1 example`, `64 examples`."""
    return f"{count:.0f} example{'' if count == 1 else 's'}"
