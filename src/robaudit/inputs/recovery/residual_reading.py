"""A file's layers read as the blocks of a residual network, by templates of the order in which they stand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from robaudit.inputs.recovery.layers import Layer

Sizes = dict[str, int]
GATES: tuple[Literal["inner", "last"], ...] = ("inner", "last")
#: The shapes of a block's convolutions by their number: `i` channels come in and `o` go out, `g` are in a group.
CONVS: dict[int, dict[str, tuple[str, ...]]] = {
    2: {"c1": ("o i 3 3",), "c2": ("o o 3 3",), "s": ("o i w w",)},
    3: {"c1": ("a i 1 1",), "c2": ("b a 3 3", "b g 3 3"), "c3": ("o b 1 1",), "s": ("o i w w",)},
}
#: Where stride is read from even kernels.
EVEN: dict[str, tuple[str, ...]] = {"c1": ("o i k k",), "c2": ("o o 3 3",), "s": ("o i v v",)}
#: The layers that squeeze and excite, linear or convolutions.
SQUEEZE = {"g1": ("r o", "r o 1 1"), "g2": ("o r", "o r 1 1")}
#: What is asked of a letter, if the block has it. A wide shortcut that changes no shape is more likely the next block's
#: first convolution.
RULES: dict[str, Callable[[Sizes], bool]] = {
    "b": lambda s: not (s["o"] % s["b"] and s["b"] % s["o"]),
    "g": lambda s: s["a"] == s["b"] and s["a"] % s["g"] == 0,
    "w": lambda s: s["w"] == 1 or (s["w"] == 3 and s["i"] != s["o"]),
    "k": lambda s: s["k"] in (3, 4),
    "v": lambda s: s["v"] == s["k"] - 2,
    "r": lambda s: s["r"] < s["o"] and s["o"] % s["r"] == 0,
}


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

    @cached_property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """The shapes that each role's weight may have."""
        convs = EVEN if self.even else CONVS[self.convs]
        norms = {f"n{i}": (convs[f"c{i}"][0].split()[self.pre],) for i in range(1, self.convs + 1)}
        return {**convs, **norms, "t": ("o",), **SQUEEZE}

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


def unify(pattern: str, shape: tuple[int, ...], sizes: Sizes) -> Sizes | None:
    """The sizes that a pattern's letters stand for beside those known, where a shape is of the pattern; else None."""
    parts, found = pattern.split(), dict(sizes)
    if len(parts) != len(shape):
        return None
    for part, size in zip(parts, shape, strict=True):
        if (int(part) if part.isdigit() else found.setdefault(part, size)) != size:
            return None
    return found


def _is_block(block: dict[str, Layer], template: Template, ins: int) -> bool:
    """Whether layers can play their roles in a block whose input has `ins` channels."""
    sizes = {"i": ins}
    for role in sorted(block):
        layer = block[role]
        if role[0] in "nt" and not layer.normalises:
            return False
        fits = (unify(pattern, layer.shape, sizes) for pattern in template.patterns[role])
        found = next(filter(None, fits), None)
        if found is None:
            return False
        sizes = found
    return all(RULES[letter](sizes) for letter in sizes if letter in RULES)


def _block(
    layers: list[Layer], at: int, ins: int, template: Template, eager: bool
) -> tuple[dict[str, Layer], int] | None:
    """The block that begins at `at`, and where it ends; `eager` takes a projection wherever one fits."""
    found = {}
    for projected in (True, False):
        order = template.order(projected)
        block = dict(zip(order, layers[at : at + len(order)], strict=False))
        if len(block) == len(order) and _is_block(block, template, ins):
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
