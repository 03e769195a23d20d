"""A file's layers as a chain of units: convolutions and linear layers, each with its normalisation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from robaudit.inputs.recovery.layers import Layer


@dataclass(frozen=True, eq=False)
class Unit:
    """A convolution or linear layer with the normalisation after it, and what a numbered name says.

    Attributes:
        layer: the convolution or linear layer.
        norm: the normalisation of its output, if any.
        inside: parameterless modules between layer and norm, by their numbers; None if names have none.
        after: parameterless modules from here to the next unit; None if names have none.

    """

    layer: Layer
    norm: Layer | None
    inside: int | None
    after: int | None

    @property
    def opening(self) -> bool:
        """Whether a number of 1 says that something without parameters precedes it, perhaps padding."""
        return self.layer.name.rpartition(".")[2] == "1"


#: An optional normalisation of the input, then units in order.
Chain = tuple[Layer | None, list[Unit]]


def _number(layer: Layer) -> tuple[str, int] | None:
    parent, _, last = layer.name.rpartition(".")
    return (parent, int(last)) if last.isdigit() else None


def _gap(a: Layer, b: Layer) -> int | None:
    first, second = _number(a), _number(b)
    if not first or not second or first[0] != second[0] or second[1] <= first[1]:
        return None
    return second[1] - first[1] - 1


def read_units(layers: list[Layer]) -> Chain | None:
    """The layers as a chain; None if they are none."""
    if any(layer.kind not in ("conv", "linear") and not layer.normalises for layer in layers):
        return None
    mains = [layer for layer in layers if not layer.normalises]
    norms = [layer for layer in layers if layer.normalises]
    kinds = [layer.kind for layer in mains]
    if not mains or kinds != sorted(kinds):
        return None
    opening = bool(norms) and layers[0].normalises and layers[0].shape[0] == mains[0].shape[1]
    first = norms.pop(0) if opening else None
    owner = _owners(layers, mains, norms)
    if owner is None:
        return None
    units = []
    for i, layer in enumerate(mains):
        norm = owner.get(i)
        following = mains[i + 1] if i + 1 < len(mains) else None
        end = norm or layer
        units.append(
            Unit(
                layer, norm, _gap(layer, norm) if norm else None, _gap(end, following) if following else None
            )
        )
    return first, units


def file_order(first: Layer | None, units: list[Unit]) -> tuple[Layer, ...]:
    """The file's layers in the order in which a plain network runs them."""
    pairs = ([unit.layer, *([unit.norm] if unit.norm else [])] for unit in units)
    return tuple(itertools.chain([first] if first else [], *pairs))


def _owners(layers: list[Layer], mains: list[Layer], norms: list[Layer]) -> dict[int, Layer] | None:
    """Which unit each normalisation follows: the one before it in the file, else the next of its width."""
    owner: dict[int, Layer] = {}
    current, strict = -1, True
    for layer in layers:
        if not layer.normalises:
            current += 1
        elif layer in norms:
            if current in owner or layer.shape[0] != mains[current].shape[0]:
                strict = False
                break
            owner[current] = layer
    if strict:
        return owner
    owner, at = {}, 0
    for norm in norms:  # all convolutions are defined first, then all normalisations
        while at < len(mains) and mains[at].shape[0] != norm.shape[0]:
            at += 1
        if at == len(mains):
            return None
        owner[at] = norm
        at += 1
    return owner


def chained(units: list[Unit], in_channels: int) -> bool:
    """Whether each layer takes what the one before gives (grouped convolutions divide it)."""
    channels = in_channels
    for unit in units:
        shape = unit.layer.shape
        if unit.layer.kind == "conv":
            if (
                len(shape) != 4
                or (
                    shape[2] == 1 and channels != shape[1]
                )  # a grouped 1x1: a shortcut, read in the wrong place
                or channels % shape[1]
                or shape[0] % (channels // shape[1])
                or shape[2] != shape[3]
            ):
                return False
        elif (channels and shape[1] % channels) or not channels:
            return False
        channels = shape[0]
    return True
