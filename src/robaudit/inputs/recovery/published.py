"""Networks of `PUBLISHED` by the shapes of their layers, and ConvMixers by the sequence."""

from __future__ import annotations

import dataclasses

import torch

from robaudit.inputs.networks import build_architecture
from robaudit.inputs.networks.mixer import MixerPlan
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.networks.specs import plan_text
from robaudit.inputs.recovery.candidates import Candidate, fits
from robaudit.inputs.recovery.catalogue import indexed_names
from robaudit.inputs.recovery.layers import Layer, chain_classes, module_layers
from robaudit.inputs.recovery.ordering import in_natural_order

#: Of the images that the networks in the index take.
CHANNELS = 3


def published_candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Published networks whose layers are these, in any order that can be told.

    Args:
        layers: as `read_layers` gives them.
        shape: (C, H, W) of the images, or None for 32x32.

    """
    side = shape[1] if shape else 32
    found = mixer_candidates(layers, side) if len(layers) > 8 else []
    found = [option for option in found if shape is None or option.in_channels == shape[0]]
    if shape and shape[0] != CHANNELS:
        return found
    for name in indexed_names(sorted(layers, key=lambda layer: layer.kind == "linear")):
        if name not in PUBLISHED:
            continue
        classes = chain_classes([layer for layer in layers if layer.kind == "linear"])
        with torch.device("meta"):
            own = module_layers(build_architecture(name, classes=classes, in_channels=CHANNELS))
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


def mixer_candidates(layers: list[Layer], image_size: int) -> list[Candidate]:
    """ConvMixers: `conv norm, (depthwise norm, 1x1 norm)..., linear`."""
    pairs = [(layers[i], layers[i + 1]) for i in range(0, len(layers) - 1, 2)]
    head = layers[-1]
    if head.kind != "linear" or len(pairs) % 2 == 0 or len(layers) % 2 == 0:
        return []
    if any(conv.kind != "conv" or norm.kind != "norm" for conv, norm in pairs):
        return []
    width, channels, patch, _ = pairs[0][0].shape
    kernel = pairs[1][0].shape[2]
    wanted = [(width, 1, kernel, kernel), (width, width, 1, 1)] * (len(pairs) // 2)
    if [conv.shape for conv, _ in pairs[1:]] != wanted or kernel < 2 or head.shape[1] != width:
        return []
    plan = MixerPlan(width, len(pairs) // 2, kernel, patch)
    plans = (plan, dataclasses.replace(plan, relu=True))
    return [
        Candidate(plan_text("convmixer", p), tuple(layers), channels, image_size, head.shape[0], 0.4 * rank)
        for rank, p in enumerate(plans)
    ]
