"""Residual networks from the sequence of shapes alone: the plan, and which layer plays which role.

A template says in what order a block's layers stand in the file; the whole file must read as stem, blocks,
perhaps one more normalisation, linear layers. What shapes do not tell (strides, kinds of shortcut without
parameters) becomes several candidates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

from robaudit.inputs.networks.norms import SCALED, divides
from robaudit.inputs.networks.residual import ResidualPlan, last_side
from robaudit.inputs.networks.residual_family import FAMILY
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.layers import Layer
from robaudit.inputs.recovery.residual_reading import Reading, read_residual
from robaudit.inputs.recovery.slopes import spread, without_slopes
from robaudit.inputs.recovery.special import usual_padding


def _stages(reading: Reading) -> list[list[dict[str, Layer]]]:
    """Blocks in stages: one starts where the width changes, or at a projection after none."""
    stages: list[list[dict[str, Layer]]] = []
    width = -1
    for block in reading.blocks:
        outs = block[f"c{reading.template.convs}"].shape[0]
        fresh = "s" in block and stages and "s" not in stages[-1][-1]
        fresh = fresh or (reading.template.even and block["c1"].shape[2] == 4)
        if outs != width or fresh:
            stages.append([])
        stages[-1].append(block)
        width = outs
    return stages


def _base_plan(reading: Reading, stages: list[list[dict[str, Layer]]]) -> ResidualPlan:
    template, firsts, block = reading.template, [stage[0] for stage in stages], reading.blocks[0]
    widths = tuple(first[f"c{template.convs}"].shape[0] for first in firsts)
    channels, _, kernel, _ = reading.stem["c"].shape
    shorts = [block["s"] for block in reading.blocks if "s" in block]
    normed = tuple(i for i in range(1, template.convs + 1) if f"n{i}" in template.main)
    partly = normed if len(normed) < template.convs else ()
    return ResidualPlan(
        widths=widths,
        depths=tuple(len(stage) for stage in stages),
        # Two but in the first, or as even kernels tell.
        strides=tuple(
            first["c1"].shape[2] - 2 if template.even else 1 + (i > 0) for i, first in enumerate(firsts)
        ),
        mid=tuple(first["c1"].shape[0] for first in firsts) if template.convs == 3 else (),
        groups=block["c2"].shape[0] // block["c2"].shape[1] if template.convs == 3 else 1,
        stem=(channels, kernel, 2 if kernel == 7 else 1),
        stem_pool=kernel == 7,
        order="pre" if template.pre else "post",
        shortcut="pad" if not shorts and {channels} != set(widths) else "conv",
        project="all" if template.even else _projected(stages),
        shortcut_norm=any("t" in block for block in reading.blocks)
        or (template.normed and not template.pre and not shorts),
        shortcut_kernel=shorts[0].shape[2] if shorts and not template.even else 1,
        norm=_norm(reading),
        normed=partly,
        se=widths[0] // block["g1"].shape[0] if template.gated else 0,
        se_conv=template.gated != "" and block["g1"].kind == "conv",
        stem_norm="n" in reading.stem or not (template.normed or template.pre),
        last_norm=reading.last is not None,
        last_act=template.pre and reading.last is None and (not template.normed or partly != ()),
        bias=not template.normed,
        even=template.even,
        cosine=reading.cosine,
        hidden=tuple(layer.shape[0] for layer in reading.linears[:-1]),
    )


def _projected(stages: list[list[dict[str, Layer]]]) -> Literal["needed", "first", "all"]:
    """Where shortcuts have a convolution: also in blocks that change no width?"""
    needless = [
        {i for i, block in enumerate(stage) if "s" in block and block["s"].shape[0] == block["s"].shape[1]}
        for stage in stages
    ]
    return "all" if any(found - {0} for found in needless) else "first" if needless[0] else "needed"


def _norm(reading: Reading) -> str:
    """The likeliest norm: batch norm by its statistics, else the first word that fits all widths."""
    norms = [layer for block in reading.blocks for role, layer in block.items() if role[0] == "n"]
    if not norms or norms[0].kind == "norm":
        return "batch" if norms else "none"
    widths = {layer.shape[0] for layer in norms}
    return next(word for word in SCALED if divides(word, widths))


def _file_order(reading: Reading, slopes: list[Layer]) -> tuple[Layer, ...]:
    """The file's layers in the order in which `ResidualNet` defines its own."""
    layers = list(reading.stem.values())
    count = reading.template.convs
    pair = ("n", "c") if reading.template.pre else ("c", "n")
    if reading.template.pre:  # the last activation is the network's own, else the first
        slopes = slopes[-1:] + slopes[:-1]
    else:
        layers += slopes[:1]
    for k, block in enumerate(reading.blocks):
        first, last = ([f"{kind}{i}" for i in range(1, count + 1) for kind in pair], ["g1", "g2", "s", "t"])
        layers += [block[role] for role in first if role in block]
        layers += slopes[1 + k * count : 1 + (k + 1) * count]
        layers += [block[role] for role in last if role in block]
    own = slopes[:1] if reading.template.pre else []
    return (*layers, *([reading.last] if reading.last else []), *own, *reading.linears)


def residual_candidates(layers: list[Layer], image_size: int) -> list[Candidate]:
    """Residual networks that the layers may be, for images of `image_size` pixels."""
    found: dict[ResidualPlan, Candidate] = {}
    rest, slopes = without_slopes(layers)
    for rank, reading in enumerate(read_residual(rest)):
        given = spread(slopes, len(reading.blocks), reading.template.convs) if slopes else []
        if given is None:
            continue
        plan = _base_plan(reading, _stages(reading))
        if given:
            plan = dataclasses.replace(plan, activation="prelu" if given[0].shape[0] == 1 else "prelu-each")
        order = _file_order(reading, given)
        features = reading.linears[0].shape[1] // plan.widths[-1]
        for variant, cost in FAMILY.first_guesses(plan):
            for pool, extra in _pools(variant, image_size, features):
                final = dataclasses.replace(variant, pool=pool)
                price = cost + extra + 0.1 * rank + usual_padding(final, reading.linears[-1].name)
                sizes = (reading.stem["c"].shape[1], image_size, reading.linears[-1].shape[0])
                found.setdefault(final, Candidate(final, order, *sizes, price))
    return sorted(found.values(), key=lambda candidate: candidate.price)


def _pools(plan: ResidualPlan, image_size: int, features: int) -> Iterator[tuple[int, float]]:
    """Windows of the last pooling that leave `features` positions."""
    side, left = last_side(plan, image_size), math.isqrt(features)
    if left * left != features or left > side:
        return
    if left == 1:
        yield 0, 0.0 if side > 1 else 0.5
    elif side % left == 0:
        yield side // left, 0.3 if side == left else 0.6
