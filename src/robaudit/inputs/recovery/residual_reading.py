"""A file's layers read as the blocks of a residual network, by templates of the order in which they stand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from robaudit.inputs.recovery.layers import Layer

GATES: tuple[Literal["inner", "last"], ...] = ("inner", "last")


@dataclass(frozen=True)
class Template:
    """The order of a block's roles in the file.

    c1.. are convolutions, n1.. norms, s and t the shortcut's, g1 and g2 the gating layers of squeeze-and-excitation,
    which stand after the main path or, if `gated` is "last", after the shortcut too. With `even` the shortcut stands
    inside every block, and convolutions of stride 2 have kernels of 4, in the shortcut of 2.
    """

    convs: int
    pre: bool
    normed: bool
    main: tuple[str, ...]
    shortcut: tuple[str, ...]
    shortcut_first: bool
    gated: Literal["", "inner", "last"] = ""
    even: bool = False

    def order(self, projected: bool) -> tuple[str, ...]:
        """Roles in file order, with or without the shortcut."""
        short = self.shortcut if projected else ()
        gate = ("g1", "g2") if self.gated else ()
        if self.shortcut_first:
            return short + self.main + gate
        return self.main + short + gate if self.gated == "last" else self.main + gate + short


@dataclass(frozen=True, eq=False)
class Reading:
    """A file read by a template; `cosine` where the last layer is one of cosines, by its weight (features, classes)."""

    template: Template
    stem: dict[str, Layer]
    blocks: tuple[dict[str, Layer], ...]
    last: Layer | None
    linears: tuple[Layer, ...]
    cosine: bool = False


def _templates() -> Iterator[Template]:
    for convs, pre, normed in itertools.product((2, 3), (False, True), (True, False)):
        c, n = ([f"{kind}{i}" for i in range(1, convs + 1)] for kind in "cn")
        pairs = list(zip(c, n, strict=True))
        orders = [[x for a, b in pairs for x in (a, b)], [x for a, b in pairs for x in (b, a)], c + n, n + c]
        if pre:
            orders[:2] = orders[1::-1]
        if not normed:
            orders = [c]
        shortcuts = [("s", "t"), ("s",)] if normed else [("s",)]
        for main, shortcut, first in itertools.product(orders, shortcuts, (False, True)):
            yield Template(convs, pre, normed, tuple(main), shortcut, first)


def _partly_normed() -> Iterator[Template]:
    """Templates in which some of a block's convolutions have no norm beside them."""
    for template in _templates():
        norms = [role for role in template.main if role[0] == "n"]
        for count in range(1, len(norms)):
            for absent in itertools.combinations(norms, count):
                yield replace(template, main=tuple(role for role in template.main if role not in absent))


PLAIN = (*_templates(), Template(2, False, False, ("c1", "s", "c2"), (), False, even=True))
#: The usual ones first; a gate or a missing norm is looked for where nothing else fits.
USUAL = len(PLAIN)
TEMPLATES = (
    *PLAIN,
    *(replace(t, gated=place) for place in GATES for t in PLAIN if t.normed),
    *_partly_normed(),
)


def _fits(role: str, layer: Layer, ins: int, template: Template, block: dict[str, Layer]) -> bool:
    """Whether `layer` can play `role` in a block whose input has `ins` channels."""
    if role[0] in "nt":
        return layer.normalises
    if role[0] == "g":
        return _gates(role, layer, template, block)
    if layer.kind != "conv":
        return False
    outs, inner, height, width = layer.shape
    if template.even and role in ("c1", "s"):
        wanted = {1, 2} if role == "s" else {3, 4}
        same = role == "c1" or height == block["c1"].shape[2] - 2
        return inner == ins and height == width and height in wanted and same
    if role == "s":
        return inner == ins and height == width and height in (1, 3)
    kernel = 3 if template.convs == 2 or role == "c2" else 1
    before = block.get(f"c{int(role[1]) - 1}")
    expected = before.shape[0] if before else ins if role == "c1" else inner
    square = template.convs == 3 or role == "c1" or outs == inner
    if role == "c2" and template.convs == 3 and outs == expected and inner and expected % inner == 0:
        return height == width == kernel  # perhaps grouped
    return height == width == kernel and inner == expected and square


def _gates(role: str, layer: Layer, template: Template, block: dict[str, Layer]) -> bool:
    """Whether `layer` can be the first or second gating layer of the block."""
    if layer.kind not in ("conv", "linear") or layer.shape[2:] not in ((), (1, 1)):
        return False
    outs = block[f"c{template.convs}"].shape[0]
    if role == "g1":
        return layer.shape[1] == outs and layer.shape[0] < outs and outs % layer.shape[0] == 0
    first = block["g1"]
    return layer.kind == first.kind and layer.shape[:2] == first.shape[1::-1]


def _sound(block: dict[str, Layer], template: Template, ins: int) -> bool:
    """Whether the norms of a complete block have the channels of their places, and the shortcut its shape."""
    outs = block[f"c{template.convs}"].shape[0]
    if template.convs == 3 and (outs % block["c2"].shape[0] and block["c2"].shape[0] % outs):
        return False
    for i in range(1, template.convs + 1):
        conv, norm = block[f"c{i}"], block.get(f"n{i}")
        if norm and norm.shape[0] != (conv.shape[1] if template.pre else conv.shape[0]):
            return False
    short, after = block.get("s"), block.get("t")
    # Otherwise it is the next block's first convolution, more likely.
    if short and short.shape[2] > 1 and ins == outs and not template.even:
        return False
    return not (short and short.shape[0] != outs) and not (after and after.shape[0] != outs) and ins > 0


def _block(
    layers: list[Layer], at: int, ins: int, template: Template, eager: bool
) -> tuple[dict[str, Layer], int] | None:
    """The block that begins at `at`, and where it ends; `eager` takes a projection wherever one fits."""
    found = {}
    for projected in (True, False):
        order = template.order(projected)
        if at + len(order) > len(layers):
            continue
        block: dict[str, Layer] = {}
        for role, layer in zip(order, layers[at:], strict=False):
            if not _fits(role, layer, ins, template, block):
                break
            block[role] = layer
        else:
            if _sound(block, template, ins):
                found[projected] = (block, at + len(order))
    plain = found.get(False)
    if plain and not eager and plain[0][f"c{template.convs}"].shape[0] == ins:
        return plain
    return found.get(True, plain)


def read_residual(layers: list[Layer]) -> Iterator[Reading]:
    """Every reading of the layers as a residual network, the usual orders first."""
    if len(layers) < 4 or any(
        layer.kind not in ("conv", "linear") and not layer.normalises for layer in layers
    ):
        return
    seen: set[object] = set()
    for rank, template in enumerate(TEMPLATES):
        if seen and rank >= USUAL:
            return
        for stem_normed, eager in itertools.product((True, False), (False, True)):
            reading = _read(layers, template, stem_normed, eager)
            if reading is None:
                continue
            roles = tuple(
                frozenset((r, layer.name) for r, layer in block.items()) for block in reading.blocks
            )
            key = (roles, template.pre and not template.normed)
            if key not in seen:
                seen.add(key)
                yield reading


def _read(layers: list[Layer], template: Template, stem_normed: bool, eager: bool) -> Reading | None:
    head = 1 + stem_normed
    if layers[0].kind != "conv" or (stem_normed and not layers[1].normalises):
        return None
    stem = {"c": layers[0]} | ({"n": layers[1]} if stem_normed else {})
    channels, at, blocks = layers[0].shape[0], head, []
    while found := _block(layers, at, channels, template, eager):
        blocks.append(found[0])
        channels, at = found[0][f"c{template.convs}"].shape[0], found[1]
    last = (
        layers[at] if at < len(layers) and layers[at].normalises and layers[at].shape == (channels,) else None
    )
    linears = layers[at + (last is not None) :]
    if not blocks or not linears or any(layer.kind != "linear" for layer in linears):
        return None
    if len(linears) == 1 and not linears[0].bias and linears[0].shape[0] == channels > linears[0].shape[1]:
        turned = Layer(linears[0].name, "linear", {"weight": linears[0].tensors["weight"].T.contiguous()})
        return Reading(template, stem, tuple(blocks), last, (turned,), cosine=True)
    if linears[0].shape[1] % channels or any(
        b.shape[1] != a.shape[0] for a, b in itertools.pairwise(linears)
    ):
        return None
    return Reading(template, stem, tuple(blocks), last, tuple(linears))
