"""Telling names of code, and of what is fetched, from other names, without importing anything that runs it."""

from __future__ import annotations

#: Catalogues that models are fetched from.
CATALOGUES = ("torchvision", "timm", "hf", "robustbench")
#: What stands before a colon in the names of catalogues and architectures: no module of a user's.
NAMES = (*CATALOGUES, "transformers", "sequential")


def is_factory(text: str) -> bool:
    """Whether a text is `FILE.py:FACTORY` or `package.module:FACTORY`, and no architecture's or catalogue's name."""
    left, colon, right = text.rpartition(":")
    return (
        bool(colon)
        and left not in NAMES
        and right.isidentifier()
        and (left.endswith(".py") or all(p.isidentifier() for p in left.split(".")))
    )


def is_fetched(text: str) -> bool:
    """Whether a text is `KIND:NAME` of a catalogue, which is asked for over the network."""
    kind, colon, name = text.partition(":")
    return bool(colon and name) and kind in CATALOGUES
