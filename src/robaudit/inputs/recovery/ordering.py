"""The order in which a network's layers were defined, where the file has lost it.

safetensors sorts tensors by name, so `bn1` comes before `conv1`, `fc` before `layer1`, `10` before `2`.
"""

from __future__ import annotations

import re

from robaudit.inputs.recovery.layers import Layer


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which `2` comes before `10`."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)|[._]", name)
        if part
    ]


def in_natural_order(layers: list[Layer], stem_norm: bool = True) -> list[Layer]:
    """A likely order: the convolution of the images, its norm, all else by name, the last norm, linear layers.

    Without `stem_norm`, no norm follows the first convolution.
    """
    ordered = sorted(layers, key=lambda layer: _natural(layer.name))
    linears = _chained([layer for layer in ordered if layer.kind == "linear"])
    rest = [layer for layer in ordered if layer.kind != "linear"]
    convs = [layer for layer in rest if layer.kind == "conv"]
    stem = next((layer for layer in convs if layer.shape[1] in (1, 3)), None)
    if stem is None:
        return rest + linears
    rest.remove(stem)
    depth = min(layer.name.count(".") for layer in [stem, *rest])
    lone = [layer for layer in rest if layer.normalises and layer.name.count(".") == depth]
    if len(lone) > 2:  # a plain net whose norms all stand at the top
        return [stem, *rest, *linears]
    rest = [layer for layer in rest if layer not in lone]
    width = linears[0].shape[1] if linears else 0
    fits_both = lone[:1] if width == stem.shape[0] else lone
    before = [layer for layer in fits_both if stem_norm and layer.shape[0] == stem.shape[0]]
    after = [layer for layer in lone if layer not in before]
    return [stem, *before, *rest, *after, *linears]


def linears_last(layers: list[Layer]) -> list[Layer]:
    """The layers with the linear ones (and norms that follow them) behind the convolutions.

    Some authors define `fc` before `conv1`; attention in the middle of a network keeps its place.
    """
    first = next((i for i, layer in enumerate(layers) if layer.kind == "conv"), 0)
    early = layers[:first]
    if not any(layer.kind == "linear" for layer in early):
        return layers
    at = next(i for i, layer in enumerate(early) if layer.kind == "linear")
    linears = early[at:]
    plain = all(layer.kind == "linear" for layer in linears)
    return [*early[:at], *layers[first:], *(_chained(linears) if plain else linears)]


def _chained(linears: list[Layer]) -> list[Layer]:
    """Linear layers so that each takes what the one before gives, where there is one such order."""
    inputs = {layer.shape[1] for layer in linears}
    outputs = {layer.shape[0] for layer in linears}
    starts = [layer for layer in linears if layer.shape[1] not in outputs]
    if len(starts) != 1 or len(inputs) != len(linears):
        return linears
    by_input = {layer.shape[1]: layer for layer in linears}
    chain = [starts[0]]
    while len(chain) < len(linears) and chain[-1].shape[0] in by_input:
        chain.append(by_input[chain[-1].shape[0]])
    return chain if len(chain) == len(linears) else linears
