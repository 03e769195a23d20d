"""Networks whose layers are built and compared: those of `PUBLISHED`, and what families propose."""

from __future__ import annotations

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.networks.families import FAMILIES, build
from robaudit.inputs.networks.family import Plan
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.recovery.candidates import Candidate, fits
from robaudit.inputs.recovery.catalogue_index import indexed_names
from robaudit.inputs.recovery.layers import Layer, chain_classes, input_channels, module_layers
from robaudit.inputs.recovery.ordering import in_natural_order

#: Channels and side of the images, classes.
Sizes = tuple[int, int, int]
#: Layers of the smallest network that a family proposes.
LEAST_LAYERS = 6
#: Of the images that the networks in the index take.
CHANNELS = 3


def published_candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Published networks whose layers are these, in any order that can be told.

    Args:
        layers: as `read_layers` gives them.
        shape: (C, H, W) of the images, or None for 32x32.

    """
    if shape and shape[0] != CHANNELS:
        return []
    linears = [layer for layer in layers if layer.kind == "linear"]
    sizes = CHANNELS, shape[1] if shape else 32, chain_classes(linears)
    names = indexed_names(sorted(layers, key=lambda layer: layer.kind == "linear"))
    return exact_candidates([name for name in names if name in PUBLISHED], layers, sizes, any_order=True)


def proposed_candidates(layers: list[Layer], side: int) -> list[Candidate]:
    """Networks of families that propose plans for the layers: each is built, and taken if its layers are these."""
    found: list[Candidate] = []
    for family in FAMILIES if len(layers) >= LEAST_LAYERS and layers[-1].kind == "linear" else ():
        for plan in family.propose(layers, side):
            sizes = input_channels(layers) or CHANNELS, side, layers[-1].shape[0]
            if order := in_network_order(plan, layers, sizes):
                found += [
                    Candidate(other, order, *sizes, price) for other, price in family.first_guesses(plan)
                ]
    return sorted(found, key=lambda candidate: candidate.price)


def exact_candidates(
    plans: list[Plan], layers: list[Layer], sizes: Sizes, *, any_order: bool = False
) -> list[Candidate]:
    """Of networks that have a name, those whose layers are these; likelier than what has none."""
    found = ((plan, in_network_order(plan, layers, sizes, any_order=any_order)) for plan in plans)
    return [Candidate(plan, order, *sizes, -1.0) for plan, order in found if order]


def in_network_order(
    plan: Plan, layers: list[Layer], sizes: Sizes, *, any_order: bool = True
) -> tuple[Layer, ...] | None:
    """A file's layers in the order of a plan's network, else as they stand; None where they are not its layers."""
    channels, side, classes = sizes
    try:
        with torch.device("meta"):
            own = module_layers(build(plan, classes=classes, in_channels=channels, image_size=side))
    except (RobauditError, RuntimeError, ValueError):
        return None
    order = in_own_order(own, layers) if any_order else layers if fits(own, layers) else None
    return tuple(order) if order else None


def in_own_order(own: list[Layer], theirs: list[Layer]) -> list[Layer] | None:
    """A file's layers in a network's order: by name after a common prefix, as they stand, or sorted."""
    by_name = {layer.name: layer for layer in theirs}
    for layer in theirs if own else ():
        if layer.name.endswith(own[0].name):
            prefix = layer.name.removesuffix(own[0].name)
            named = [by_name[prefix + mine.name] for mine in own if prefix + mine.name in by_name]
            if fits(own, named) and len(named) == len(theirs):
                return named
    orders = (theirs, in_natural_order(theirs))
    return next((order for order in orders if fits(own, order)), None)
