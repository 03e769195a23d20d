"""DenseNets and MobileNetV2s from the sequence of shapes."""

from __future__ import annotations

import dataclasses
import itertools

from robaudit.inputs.networks.dense import DensePlan, MobilePlan, map_side
from robaudit.inputs.networks.specs import plan_text
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.layers import Layer


def dense_candidates(layers: list[Layer], image_size: int) -> list[Candidate]:
    """DenseNets and MobileNetV2s that the layers may be, in the file's own order."""
    if len(layers) < 8 or layers[0].kind != "conv" or layers[-1].kind != "linear":
        return []
    dense, mobile = _dense(layers, image_size), _mobile(layers)
    specs: list[tuple[str, float]] = []
    if dense:
        pools = (False, True) if dense.stem_norm else (False,)
        plans = [
            dataclasses.replace(dense, new_first=first, stem_pool=pool)
            for first in (dense.stem_norm ^ True, dense.stem_norm)
            for pool in pools
        ]
        specs += [(plan_text("densenet", plan), 0.1 * rank) for rank, plan in enumerate(plans)]
    if mobile:
        plans_of = [dataclasses.replace(mobile, strides=strides) for strides in _strides(mobile)]
        kinds = ("mobilenetv2", "mobilenetv2-relu6")
        specs += [(plan_text(kind, plan), 0.3 * rank) for rank, plan in enumerate(plans_of) for kind in kinds]
    channels, classes = layers[0].shape[1], layers[-1].shape[0]
    return [Candidate(spec, tuple(layers), channels, image_size, classes, cost) for spec, cost in specs]


def _dense(layers: list[Layer], image_size: int) -> DensePlan | None:
    """Read `conv, [norm,] (norm conv [norm conv])..., norm, linears`, or the same without any norm."""
    end = next(i for i, layer in enumerate(layers) if layer.kind == "linear")
    bare = not any(layer.kind == "norm" for layer in layers)
    stem_norm = layers[1].kind == layers[2].kind == "norm" and layers[0].shape[2] == 3
    body, linears = layers[1 + stem_norm : end if bare else end - 1], layers[end:]
    if not bare and (len(body) % 2 or layers[end - 1].kind != "norm"):
        return None
    if not bare and any(
        norm.kind != "norm" or conv.kind != "conv" or conv.shape[1] != norm.shape[0]
        for norm, conv in zip(body[::2], body[1::2], strict=True)
    ):
        return None
    body = body if bare else body[1::2]
    if any(layer.kind != "conv" for layer in body) or any(layer.kind != "linear" for layer in linears):
        return None
    if any(after.shape[1] != layer.shape[0] for layer, after in itertools.pairwise(linears)):
        return None
    found = _blocks([layer.shape for layer in body], layers[0].shape[0])
    if found is None:
        return None
    plan, channels = found
    features = linears[0].shape[1]
    hidden = tuple(layer.shape[0] for layer in linears[:-1])
    plan = dataclasses.replace(plan, stem_norm=stem_norm, bare=bare, flat=features != channels, hidden=hidden)
    return plan if features == channels * (map_side(plan, image_size) ** 2 if plan.flat else 1) else None


def _blocks(convs: list[tuple[int, ...]], stem: int) -> tuple[DensePlan, int] | None:
    """The plan of convolutions of such shapes behind a stem, and the channels they leave."""
    growth = next((shape[0] for shape in convs if shape[2] == 3), 0)
    neck = convs[0][0] if convs[0][2] == 1 else 0
    blocks, transitions, at, channels = [0], list[int](), 0, stem
    step = 2 if neck else 1
    while at < len(convs):
        shape = convs[at]
        if shape[1] != channels:
            return None
        if shape[2] == (1 if neck else 3) and at + step <= len(convs) and convs[at + step - 1][2] == 3:
            blocks[-1] += 1
            channels, at = channels + growth, at + step
        elif shape[2] == 1:
            transitions.append(shape[0])
            blocks.append(0)
            channels, at = shape[0], at + 1
        else:
            return None
    if not all(blocks):
        return None
    return DensePlan(growth, tuple(blocks), stem, tuple(transitions), neck), channels


def _mobile(layers: list[Layer]) -> MobilePlan | None:
    """Read `conv norm, (1x1 norm, depthwise norm, 1x1 norm [, shortcut norm])..., 1x1 norm, linear`."""
    body = layers[:-1]
    pairs = [(body[i], body[i + 1]) for i in range(0, len(body) - 1, 2)]
    if len(body) % 2 or any(conv.kind != "conv" or norm.kind != "norm" for conv, norm in pairs):
        return None
    convs = [conv.shape for conv, _ in pairs]
    if not any(shape[1] == 1 and shape[2] == 3 for shape in convs[1:]) or convs[-1][2] != 1:
        return None
    at, channels = 1, convs[0][0]
    inner: list[int] = []
    outs: list[int] = []
    shortcuts: list[int] = []
    expand_first = convs[1][2] == 1
    while at < len(convs) - 1:
        expanded = convs[at][2] == 1
        depth = at + expanded
        if depth + 2 >= len(convs) or convs[depth][1:3] != (1, 3) or convs[depth + 1][2] != 1:
            return None
        if expanded != bool(inner or expand_first):
            return None
        inner.append(convs[depth][0])
        outs.append(convs[depth + 1][0])
        at = depth + 2
        short = (
            convs[at] == (outs[-1], channels, 1, 1) and at + 1 < len(convs) and convs[at + 1][1:3] != (1, 3)
        )
        shortcuts.append(int(short))
        at, channels = at + short, outs[-1]
    if convs[-1][1] != channels or convs[-1][0] != layers[-1].shape[1]:
        return None
    return MobilePlan(
        (convs[0][0], 1),
        tuple(inner),
        tuple(outs),
        (1,) * len(outs),
        tuple(shortcuts),
        convs[-1][0],
        expand_first,
    )


def _strides(plan: MobilePlan) -> list[tuple[int, ...]]:
    """Strides by block: two where a stage begins, in the published patterns for small images.

    Narrow versions have stages in a row of one width: of 17 blocks, the paper's Table 2 tells where they begin.
    """
    changes = [0, *(i for i in range(1, len(plan.outs)) if plan.outs[i] != plan.outs[i - 1])]
    starts = [0, 1, 3, 6, 10, 13, 16] if len(plan.outs) == 17 and len(changes) < 7 else changes
    patterns = [(1, 1, 2, 2, 1, 2, 1), (1, 2, 2, 2, 1, 2, 1), (1, 1, 1, 2, 1, 2, 1), (1, 1, 2, 2, 2, 2, 1)]
    found = []
    for pattern in patterns:
        strides = [1] * len(plan.outs)
        for stage, start in enumerate(starts):
            strides[start] = pattern[stage] if stage < len(pattern) and not plan.shortcuts[start] else 1
        found.append(tuple(strides))
    return list(dict.fromkeys(found))
