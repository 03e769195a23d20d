"""Residual networks from the sequence of shapes alone: the plan, and which layer plays which role.

A template says in what order a block's layers stand in the file; the whole file must read as stem, blocks,
perhaps one more normalisation, linear layers. What shapes do not tell (strides, kinds of shortcut without
parameters) becomes several candidates.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from robaudit.inputs.architectures.residual import ResidualPlan, Shortcut
from robaudit.inputs.architectures.specs import residual_spec
from robaudit.inputs.candidates import Candidate
from robaudit.inputs.layers import Layer


@dataclass(frozen=True)
class Template:
    """The order of a block's roles in the file: c1.. convolutions, n1.. norms, s and t the shortcut's."""

    convs: int
    pre: bool
    normed: bool
    main: tuple[str, ...]
    shortcut: tuple[str, ...]
    shortcut_first: bool

    def order(self, projected: bool) -> tuple[str, ...]:
        """Roles in file order, with or without the shortcut."""
        short = self.shortcut if projected else ()
        return short + self.main if self.shortcut_first else self.main + short


@dataclass(frozen=True, eq=False)
class Reading:
    """A file read by a template."""

    template: Template
    stem: dict[str, Layer]
    blocks: tuple[dict[str, Layer], ...]
    last: Layer | None
    linears: tuple[Layer, ...]


def _templates() -> Iterator[Template]:
    for convs, pre, normed in itertools.product((2, 3), (False, True), (True, False)):
        c, n = ([f"{kind}{i}" for i in range(1, convs + 1)] for kind in "cn")
        pairs = list(zip(c, n, strict=True))
        orders = [[x for a, b in pairs for x in (a, b)], [x for a, b in pairs for x in (b, a)], c + n, n + c]
        if pre:
            orders[:2] = orders[1::-1]
        if not normed:
            orders = [] if pre else [c]
        shortcuts = [("s", "t"), ("s",)] if normed else [("s",)]
        for main, shortcut, first in itertools.product(orders, shortcuts, (False, True)):
            yield Template(convs, pre, normed, tuple(main), shortcut, first)


TEMPLATES = tuple(_templates())


def _fits(role: str, layer: Layer, ins: int, template: Template, block: dict[str, Layer]) -> bool:
    """Whether `layer` can play `role` in a block whose input has `ins` channels."""
    if role[0] in "nt":
        return layer.kind == "norm"
    if layer.kind != "conv":
        return False
    outs, inner, height, width = layer.shape
    if role == "s":
        return inner == ins and height == width and height in (1, 3)
    kernel = 3 if template.convs == 2 or role == "c2" else 1
    before = block.get(f"c{int(role[1]) - 1}")
    expected = before.shape[0] if before else ins if role == "c1" else inner
    square = template.convs == 3 or role == "c1" or outs == inner
    if role == "c2" and template.convs == 3 and outs == expected and inner and expected % inner == 0:
        return height == width == kernel  # perhaps grouped
    return height == width == kernel and inner == expected and square


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
    if short and short.shape[2] > 1 and ins == outs:  # the next block's first convolution, more likely
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
    if len(layers) < 4 or any(layer.kind not in ("conv", "norm", "linear") for layer in layers):
        return
    seen = set()
    for template, stem_normed, eager in itertools.product(TEMPLATES, (True, False), (False, True)):
        reading = _read(layers, template, stem_normed, eager)
        if reading is None:
            continue
        key = tuple(
            tuple(sorted((role, layer.name) for role, layer in block.items())) for block in reading.blocks
        )
        if key not in seen:
            seen.add(key)
            yield reading


def _read(layers: list[Layer], template: Template, stem_normed: bool, eager: bool) -> Reading | None:
    head = 1 + stem_normed
    if layers[0].kind != "conv" or (stem_normed and layers[1].kind != "norm"):
        return None
    stem = {"c": layers[0]} | ({"n": layers[1]} if stem_normed else {})
    channels, at, blocks = layers[0].shape[0], head, []
    while found := _block(layers, at, channels, template, eager):
        blocks.append(found[0])
        channels, at = found[0][f"c{template.convs}"].shape[0], found[1]
    last = (
        layers[at]
        if at < len(layers) and layers[at].kind == "norm" and layers[at].shape == (channels,)
        else None
    )
    linears = layers[at + (last is not None) :]
    if not blocks or not linears or any(layer.kind != "linear" for layer in linears):
        return None
    if linears[0].shape[1] % channels or any(
        b.shape[1] != a.shape[0] for a, b in itertools.pairwise(linears)
    ):
        return None
    return Reading(template, stem, tuple(blocks), last, tuple(linears))


def _stages(reading: Reading) -> list[list[dict[str, Layer]]]:
    """Blocks in stages: one starts where the width changes, or at a projection after none."""
    stages: list[list[dict[str, Layer]]] = []
    width = -1
    for block in reading.blocks:
        outs = block[f"c{reading.template.convs}"].shape[0]
        fresh = "s" in block and stages and "s" not in stages[-1][-1]
        if outs != width or fresh:
            stages.append([])
        stages[-1].append(block)
        width = outs
    return stages


def _base_plan(reading: Reading, stages: list[list[dict[str, Layer]]]) -> ResidualPlan:
    template, last_role = reading.template, f"c{reading.template.convs}"
    shorts = [block["s"] for block in reading.blocks if "s" in block]
    needless = [
        [i for i, block in enumerate(stage) if "s" in block and block["s"].shape[0] == block["s"].shape[1]]
        for stage in stages
    ]
    project = "all" if any(set(found) - {0} for found in needless) else "first" if needless[0] else "needed"
    stem = reading.stem["c"].shape
    return ResidualPlan(
        widths=tuple(stage[0][last_role].shape[0] for stage in stages),
        depths=tuple(len(stage) for stage in stages),
        strides=(1,) + (2,) * (len(stages) - 1),
        mid=tuple(stage[0]["c1"].shape[0] for stage in stages) if template.convs == 3 else (),
        groups=_groups(stages[0][0]["c2"]) if template.convs == 3 else 1,
        stem=(stem[0], stem[2], 2 if stem[2] == 7 else 1),
        stem_pool=stem[2] == 7,
        order="pre" if template.pre else "post",
        shortcut="conv" if shorts else "pad",
        project=project,  # type: ignore[arg-type]
        shortcut_norm=any("t" in block for block in reading.blocks)
        or not (template.pre or not template.normed),
        shortcut_kernel=shorts[0].shape[2] if shorts else 1,
        norm="batch" if template.normed else "none",
        stem_norm="n" in reading.stem or not template.normed,
        last_norm=reading.last is not None,
        bias=not template.normed,
        hidden=tuple(layer.shape[0] for layer in reading.linears[:-1]),
    )


def _groups(layer: Layer) -> int:
    """Groups of a convolution with as many outputs as inputs."""
    return layer.shape[0] // layer.shape[1]


def _file_order(reading: Reading) -> tuple[Layer, ...]:
    """The file's layers in the order in which `ResidualNet` defines its own."""
    layers = list(reading.stem.values())
    convs = range(1, reading.template.convs + 1)
    pair = ("n", "c") if reading.template.pre else ("c", "n")
    for block in reading.blocks:
        roles = [f"{kind}{i}" for i in convs for kind in pair] + ["s", "t"]
        layers += [block[role] for role in roles if role in block]
    return (*layers, *([reading.last] if reading.last else []), *reading.linears)


def _variants(plan: ResidualPlan, padded: bool, hint: str) -> Iterator[tuple[ResidualPlan, float]]:
    """The plan with what shapes cannot tell filled in: kinds of padding, strides."""
    pads: tuple[Shortcut, ...]
    pads = ("pad", "pad-end", "pool-pad-end", "pool-pad") if padded else ("conv",)
    if padded and hint != "linear":
        pads = ("pad-end", "pad", "pool-pad-end", "pool-pad")
    rest = plan.strides[1:]
    strides = [(1, *rest), (2, *rest), (1,) * len(plan.strides)]
    kernel = plan.stem[1]
    stems = [(plan.stem[2], plan.stem_pool), *([(1, False), (2, False), (2, True)])]
    for (i, pad), (j, stride), (k, (stem, pool)) in itertools.product(
        enumerate(pads), enumerate(dict.fromkeys(strides)), enumerate(dict.fromkeys(stems))
    ):
        yield (
            dataclasses.replace(
                plan,
                shortcut=pad,  # type: ignore[arg-type]
                strides=stride,
                stem=(plan.stem[0], kernel, stem),
                stem_pool=pool,
            ),
            0.3 * i + 1.0 * j + 1.5 * k,
        )


def residual_candidates(layers: list[Layer], image_size: int) -> list[Candidate]:
    """Residual networks that the layers may be, for images of `image_size` pixels."""
    found: dict[str, Candidate] = {}
    for rank, reading in enumerate(read_residual(layers)):
        plan = _base_plan(reading, _stages(reading))
        padded = plan.shortcut == "pad"
        if padded and plan.widths[0] == plan.stem[0] and len(plan.widths) == 1:
            padded = False
        order = _file_order(reading)
        features = reading.linears[0].shape[1] // plan.widths[-1]
        for variant, cost in _variants(plan, padded, reading.linears[-1].name.rsplit(".", 1)[-1]):
            for pool, extra in _pools(variant, image_size, features):
                final = dataclasses.replace(variant, pool=pool)
                spec = residual_spec(final)
                found.setdefault(
                    spec,
                    Candidate(
                        spec,
                        order,
                        reading.stem["c"].shape[1],
                        image_size,
                        reading.linears[-1].shape[0],
                        cost + extra + 0.1 * rank,
                    ),
                )
    return sorted(found.values(), key=lambda candidate: candidate.cost)


def _pools(plan: ResidualPlan, image_size: int, features: int) -> Iterator[tuple[int, float]]:
    """Windows of the last pooling that leave `features` positions."""
    side = -(-image_size // plan.stem[2])
    side = -(-side // 2) if plan.stem_pool else side
    for stride in plan.strides:
        side = -(-side // stride)
    left = math.isqrt(features)
    if left * left != features or left > side:
        return
    if left == 1:
        yield 0, 0.0 if side > 1 else 0.5
    elif side % left == 0:
        yield side // left, 0.3 if side == left else 0.6
