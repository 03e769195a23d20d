"""Networks whose layers are built and compared: those of `PUBLISHED`, and what families propose."""

from __future__ import annotations

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.networks.families import FAMILIES, build
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.recovery.candidates import Candidate, fits
from robaudit.inputs.recovery.catalogue import indexed_names
from robaudit.inputs.recovery.layers import Layer, chain_classes, input_channels, module_layers
from robaudit.inputs.recovery.ordering import in_natural_order

#: Layers of the smallest network that a family proposes.
FEWEST = 6
#: Of the images that the networks in the index take.
CHANNELS = 3


def published_candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Published networks whose layers are these, in any order that can be told.

    Args:
        layers: as `read_layers` gives them.
        shape: (C, H, W) of the images, or None for 32x32.

    """
    side = shape[1] if shape else 32
    if shape and shape[0] != CHANNELS:
        return []
    found = []
    for name in indexed_names(sorted(layers, key=lambda layer: layer.kind == "linear")):
        if name not in PUBLISHED:
            continue
        classes = chain_classes([layer for layer in layers if layer.kind == "linear"])
        with torch.device("meta"):
            own = module_layers(build(name, classes=classes, in_channels=CHANNELS))
        order = in_own_order(own, layers)
        if order:
            found.append(Candidate(name, tuple(order), CHANNELS, side, classes, -1.0))
    return found


def in_own_order(own: list[Layer], theirs: list[Layer]) -> list[Layer] | None:
    """A file's layers in a network's order: by name after a common prefix, as they stand, or sorted."""
    by_name = {layer.name: layer for layer in theirs}
    for layer in theirs:
        if layer.name.endswith(own[0].name):
            prefix = layer.name.removesuffix(own[0].name)
            named = [by_name[prefix + mine.name] for mine in own if prefix + mine.name in by_name]
            if fits(own, named) and len(named) == len(theirs):
                return named
    orders = (theirs, in_natural_order(theirs))
    return next((order for order in orders if fits(own, order)), None)


def proposed_candidates(layers: list[Layer], side: int) -> list[Candidate]:
    """Networks of families that propose plans for the layers: each is built, and taken if its layers are these."""
    found: list[Candidate] = []
    for family in FAMILIES if len(layers) >= FEWEST and layers[-1].kind == "linear" else ():
        for plan in family.propose(layers, side):
            sizes = (input_channels(layers) or CHANNELS, side, layers[-1].shape[0])
            try:
                with torch.device("meta"):
                    own = module_layers(family.build(plan, sizes[2], sizes[0], side))
            except (RobauditError, RuntimeError, ValueError):
                continue
            if order := in_own_order(own, layers):
                found += [
                    Candidate(other, tuple(order), *sizes, cost) for other, cost in family.first_guesses(plan)
                ]
    return sorted(found, key=lambda candidate: candidate.price)
