"""Neighbours of an architecture's text that have the same layers: what shapes cannot tell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from robaudit.inputs.networks.activations import ACTIVATIONS
from robaudit.inputs.networks.norms import SCALED, divides
from robaudit.inputs.networks.residual import ResidualPlan
from robaudit.inputs.networks.residual_specs import parse_residual, residual_spec
from robaudit.inputs.networks.specs import parse_plan, plan_text, sequential_spec, sequential_words
from robaudit.inputs.networks.transformer import TransformerPlan
from robaudit.inputs.recovery.sequential_variations import sequential_variations


def variations(spec: str) -> Iterator[tuple[str, float]]:
    """(text, extra cost) of architectures that differ in one such thing; none for other kinds."""
    if spec in ("onnx", "torchscript", "pt2"):
        return
    if spec.startswith("ensemble:"):
        head, _, member = spec.partition("*")
        for text, cost in variations(member):
            yield f"{head}*{text}", cost
    elif plain := sequential_words(spec):
        words = plain.split()
        for changed, cost in sequential_variations(words):
            if changed != words:
                yield sequential_spec(" ".join(changed)), cost
    elif spec.startswith("vit:"):
        for near, cost in _transformer(parse_plan(spec, TransformerPlan)):
            yield plan_text("vit", near), cost
    elif plan := parse_residual(spec):
        for other, cost in _residual(plan):
            if other != plan:
                yield residual_spec(other), cost


def activation(spec: str) -> str:
    """The first activation of an architecture, `relu` where none is said."""
    words = re.split(r"[\s,=]", sequential_words(spec.rpartition("*")[2]) or spec)
    return next((word for word in words if word in ACTIVATIONS), "relu")


def plainest(spec: str) -> str:
    """The same with ReLU, maximum pooling and padding on both sides."""
    if plain := sequential_words(spec):
        words = ["relu" if word in ACTIVATIONS else re.sub("^avg", "max", word) for word in plain.split()]
        return sequential_spec(" ".join(words))
    plan = None if spec.startswith(("vit:", "ensemble:")) else parse_residual(spec)
    if plan is None or plan.activation not in ACTIVATIONS:
        return spec
    return residual_spec(dataclasses.replace(plan, activation="relu", pad_end=False))


def combinations(spec: str, blind: bool = False) -> Iterator[tuple[str, float]]:
    """(text, extra cost) of a plain network with another activation and perhaps average pooling.

    A residual network's other activations too, where nothing else is right (`blind`).
    """
    plain = sequential_words(spec)
    if plain is None:
        plan = parse_residual(spec) if blind else None
        if plan is not None:
            names = ("silu", "lwta2", "elu", "tanh", "softplus", "leaky0.1", "gelu", "maxmin")
            # Swish with TensorFlow's padding goes early: of a heavy network only the first few are tried.
            pairs = [(name, far) for far in (False, True) for name in names]
            for name, far in sorted(pairs, key=lambda pair: pair[0] != "silu"):
                yield residual_spec(dataclasses.replace(plan, activation=name, pad_end=far)), 1.0
        return
    words = plain.split()
    if blind and "flatten" in words:
        yield sequential_spec(plain.replace(" flatten ", " flatten-nhwc ")), 1.0
    flat = words.index("flatten") if "flatten" in words else 0
    for pool in ("max", "avg"):  # Caffe's LeNet has activations between its linear layers only
        linear = [re.sub("^(max|avg)", pool, word) for word in words[:flat] if word not in ACTIVATIONS]
        if len(linear) < flat:
            yield sequential_spec(" ".join([*linear, *words[flat:]])), 5.0
    for name in (
        "relu",
        "tanh",
        "sigmoid",
        "elu",
        "softplus",
        "silu",
        "leaky0.1",
        "relu1",
        "maxmin",
        "kwta0.2",
    ):
        for pool in ("max", "avg"):
            changed = [name if word in ACTIVATIONS else re.sub("^(max|avg)", pool, word) for word in words]
            if changed != words:
                yield (
                    sequential_spec(" ".join(changed)),
                    (7.0 if name != "relu" else 0.0) + 1.5 * (pool == "avg"),
                )


def _residual(plan: ResidualPlan) -> Iterator[tuple[ResidualPlan, float]]:
    change = dataclasses.replace
    for name in ACTIVATIONS if plan.activation in ACTIVATIONS else ():
        yield change(plan, activation=name), 0.5
    if plan.norm in SCALED:
        for word in SCALED:
            if divides(word, {*plan.widths, *plan.mid}):
                yield change(plan, norm=word), 0.3
    yield change(plan, pool_max=not plan.pool_max), 0.6
    yield change(plan, pad_end=not plan.pad_end), 0.8
    yield change(plan, cosine=not plan.cosine), 1.0
    if plan.hidden:
        yield change(plan, hidden_linear=not plan.hidden_linear), 0.5
    yield from _inside_blocks(plan)
    pair = {"conv": ("conv", "pool-conv"), "pool-conv": ("conv", "pool-conv")}
    for kind in pair.get(plan.shortcut, ("pad", "pad-end", "pool-pad", "pool-pad-end")):
        yield change(plan, shortcut=kind), 0.3
    for stride in (1, 2):
        for pool in (False, True):
            yield change(plan, stem=(*plan.stem[:2], stride), stem_pool=pool), 1.0
    if plan.pool == 0 and not plan.even:
        yield change(plan, strides=(2, *plan.strides[1:])), 1.0
        yield change(plan, strides=(1, *plan.strides[1:])), 1.0


def _inside_blocks(plan: ResidualPlan) -> Iterator[tuple[ResidualPlan, float]]:
    """Where a block's shortcut and stride are."""
    change = dataclasses.replace
    if plan.order == "pre":
        yield change(plan, shortcut_raw=not plan.shortcut_raw), 0.3
        if not plan.last_norm:
            yield change(plan, last_act=not plan.last_act), 0.5
    if plan.mid:
        yield change(plan, stride_first=not plan.stride_first), 0.3
    else:
        yield change(plan, stride_last=not plan.stride_last), 0.6


def _transformer(plan: TransformerPlan) -> Iterator[tuple[TransformerPlan, float]]:
    change = dataclasses.replace
    yield change(plan, relu=not plan.relu), 0.5
    yield change(plan, wide_scale=not plan.wide_scale), 0.8
    yield change(plan, post=not plan.post), 0.8
    if plan.token:
        yield change(plan, mean=not plan.mean), 0.5
    if plan.mean:
        yield change(plan, mean_first=not plan.mean_first), 0.3
    if not plan.conv:
        yield change(plan, channels_last=not plan.channels_last), 0.3
