"""Learned slopes (PReLU, He et al. 2015, https://arxiv.org/abs/1502.01852) in a file.

A slope is a vector by itself: one number, or one a channel. The network is recovered without them, and each of its
ReLUs is then given its own; a single slope is shared by all.
"""

from __future__ import annotations

from dataclasses import replace

from robaudit.inputs.networks.norms import is_norm
from robaudit.inputs.networks.sequential_family import SequentialPlan
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.layers import Layer


def without_slopes(layers: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The other layers, and the slopes, both in the file's order."""
    slopes = [layer for layer in layers if layer.kind == "scale" and not layer.bias]
    return [layer for layer in layers if layer not in slopes], slopes


def with_slopes(candidate: Candidate, slopes: list[Layer]) -> Candidate | None:
    """A plain network with slopes in place of its (first) ReLUs; None if they do not fit."""
    words = candidate.plan.words
    count = words.count("relu")
    if not slopes or len(slopes) > count:
        return None
    given = iter(slopes * count if len(slopes) == 1 else slopes)
    own = iter(candidate.layers)
    layers: list[Layer] = []
    found: list[str] = []
    width = 0
    for word in words:
        slope = next(given, None) if word == "relu" else None
        if slope is not None:
            if slope.shape[0] not in (1, width):
                return None
            found.append("prelu" if slope.shape[0] == 1 else "prelu-each")
            layers.append(slope)
            continue
        found.append(word)
        if word.startswith(("conv", "fc")) or is_norm(word):
            layers.append(next(own))
            width = layers[-1].shape[0]
    return replace(candidate, plan=SequentialPlan(tuple(found)), layers=tuple(layers))


def spread(slopes: list[Layer], blocks: int, each: int) -> list[Layer] | None:
    """The slopes of a residual network: one of its own, and `each` in every block; None if they do not fit.

    A file may hold as many, one a block, or one for all.
    """
    if len(slopes) == 1:
        return slopes * (1 + blocks * each)
    if len(slopes) == 1 + blocks:
        return [slopes[0], *(slope for slope in slopes[1:] for _ in range(each))]
    return slopes if len(slopes) == 1 + blocks * each else None
