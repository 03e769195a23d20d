"""Normalisations by the word they have in a specification.

| word | meaning |
|---|---|
| `batch`, `bn` | batch normalisation with stored statistics (https://arxiv.org/abs/1502.03167) |
| `bn0` | the same without learned scale |
| `gn8` | group normalisation in 8 groups (https://arxiv.org/abs/1803.08494); `gn1` of features is layer normalisation |
| `gc16` | group normalisation in groups of 16 channels |
| `in` | instance normalisation with learned scale (https://arxiv.org/abs/1607.08022) |
| `none` | nothing |
"""

from __future__ import annotations

import re

from torch import nn

from robaudit.errors import RobauditError

GROUPED = re.compile(r"gn(\d+)|gc(\d+)|in")
#: Words for what files hold as a scale and a shift alone, with how unusual each is.
SCALED = {
    "gn32": 0.0, "gn8": 0.1, "gn2": 0.2, "gn16": 0.2, "gn4": 0.25, "gn1": 0.3, "gc16": 0.35, "in": 0.35, "gc8": 0.4,
}  # fmt: skip


def is_norm(word: str) -> bool:
    """Whether a word stands for a normalisation."""
    return word in ("batch", "bn", "bn0", "none") or bool(GROUPED.fullmatch(word))


def divides(word: str, widths: set[int]) -> bool:
    """Whether a word of `SCALED` fits layers of all these widths."""
    size = int(word[2:] or 1)
    if word.startswith("gc"):
        return all(width % size == 0 for width in widths)
    return word == "in" or all(width % size == 0 and width >= size for width in widths)


def make_norm(word: str, channels: int, *, flat: bool = False) -> nn.Module:
    """A fresh normalisation of this many channels; `flat` for features (N, channels) instead of images.

    Raises:
        RobauditError: unknown word, or groups that do not divide the channels.

    """
    if word == "none":
        return nn.Identity()
    if word in ("batch", "bn", "bn0"):
        return (nn.BatchNorm1d if flat else nn.BatchNorm2d)(channels, affine=word != "bn0")
    match = GROUPED.fullmatch(word)
    if match is None:
        raise RobauditError(f"{word}: not a normalisation; use batch, none, gn8, gc16 or in")
    if word == "in" and not flat:
        return nn.InstanceNorm2d(channels, affine=True)
    size = int(match[2] or 1)
    groups = int(match[1]) if match[1] else channels // size if size and channels % size == 0 else 0
    if groups < 1 or channels % groups:
        raise RobauditError(f"{word}: does not divide {channels} channels")
    return nn.GroupNorm(groups, channels)
