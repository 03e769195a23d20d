"""DenseNet (Huang et al. 2017, https://arxiv.org/abs/1608.06993) in the forms that CIFAR checkpoints come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from robaudit.inputs.networks.family import Family, flag, priced
from robaudit.inputs.networks.sequential import build_sequential
from robaudit.inputs.networks.texts import parse_plan, plan_text


@dataclass(frozen=True)
class DensePlan:
    """A DenseNet.

    Attributes:
        growth: channels that each layer adds.
        blocks: layers in each dense block.
        stem: channels of the first convolution.
        transitions: channels after each transition.
        neck: channels of the 1x1 convolution before each 3x3; 0 for none.
        new_first: a layer's output stands before its input in the concatenation.
        stem_norm: norm and ReLU follow the first convolution.
        stem_pool: and then max pooling by two, 3x3.
        bare: there is no norm anywhere.
        flat: the last map is flattened, not averaged.
        hidden: widths of linear layers before the last.

    """

    growth: int
    blocks: tuple[int, ...]
    stem: int
    transitions: tuple[int, ...]
    neck: int
    new_first: bool = True
    stem_norm: bool = False
    stem_pool: bool = False
    bare: bool = False
    flat: bool = False
    hidden: tuple[int, ...] = ()


def dense_net(plan: DensePlan, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """Images (N, in_channels, image_size, image_size), already normalised, to logits (N, classes)."""
    act = "relu" if plan.bare else "bn relu"
    neck = f"{act} conv{plan.neck}k1n " if plan.neck else ""
    layer = f"skip {neck}{act} conv{plan.growth}k3p1n {'cat-new' if plan.new_first else 'cat'}"
    words = [f"conv{plan.stem}k3p1n", "bn relu" * plan.stem_norm, "max3s2p1" * plan.stem_pool]
    for i, depth in enumerate(plan.blocks):
        words += [layer] * depth
        words += [f"{act} conv{width}k1n avg2" for width in plan.transitions[i : i + 1]]
    words += [
        act,
        "" if plan.flat else "gap",
        "flatten",
        *(f"fc{width} relu" for width in plan.hidden),
        "fcK",
    ]
    return build_sequential(" ".join(words), classes, in_channels, image_size)


def _propose(layers: Sequence[Any], side: int) -> Iterator[DensePlan]:
    """`conv, [norm,] (norm conv [norm conv])..., norm, linears`, or the same without any norm."""
    convs = [layer.shape for layer in layers if layer.kind == "conv"]
    linears = [layer.shape for layer in layers if layer.kind == "linear"]
    growth = next((shape[0] for shape in convs[1:] if shape[2] == 3), 0)
    if len(convs) < 4 or not linears or not growth:
        return
    stem, body = convs[0][0], convs[1:]
    neck = body[0][0] if body[0][2] == 1 else 0
    blocks, transitions, at, channels = [0], list[int](), 0, stem
    step = 2 if neck else 1
    while at < len(body):
        if body[at][2] == (1 if neck else 3) and at + step <= len(body) and body[at + step - 1][2] == 3:
            blocks[-1] += 1
            channels, at = channels + growth, at + step
        else:
            transitions.append(body[at][0])
            blocks.append(0)
            channels, at = body[at][0], at + 1
    bare = not any(layer.kind == "norm" for layer in layers)
    stem_norm = not bare and layers[1].kind == layers[2].kind == "norm"
    yield DensePlan(
        growth, tuple(blocks), stem, tuple(transitions), neck, new_first=not stem_norm, stem_norm=stem_norm, bare=bare,
        flat=linears[0][1] != channels, hidden=tuple(shape[0] for shape in linears[:-1]),
    )  # fmt: skip


FAMILY = Family(
    DensePlan,
    parse=lambda text: parse_plan(text, DensePlan) if text.startswith("densenet:") else None,
    text=lambda plan: plan_text("densenet", plan),
    build=dense_net,
    free=(
        priced("new_first", lambda plan: {not plan.stem_norm: 0.0, plan.stem_norm: 0.2}),
        flag("stem_pool", 0.1, when=lambda plan: plan.stem_norm),
    ),
    propose=_propose,
)
