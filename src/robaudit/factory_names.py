"""Telling a name of code from other names, without importing anything that runs it."""

from __future__ import annotations

#: What stands before a colon in the names of catalogues and architectures: no module of a user's.
NAMES = ("torchvision", "timm", "hf", "robustbench", "transformers", "sequential")


def is_factory(text: str) -> bool:
    """Whether a text is `FILE.py:FACTORY` or `package.module:FACTORY`, and no architecture's or catalogue's name."""
    left, colon, right = text.rpartition(":")
    return (
        bool(colon)
        and left not in NAMES
        and right.isidentifier()
        and (left.endswith(".py") or all(p.isidentifier() for p in left.split(".")))
    )
