"""Residual networks as text that rebuilds them (`resnet20:shortcut=pad`, `wrn-28-10`, `residual:...`), and what shapes
cannot tell of them.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from robaudit.errors import RobauditError
from robaudit.inputs.networks.activations import ACTIVATIONS, SLOPES
from robaudit.inputs.networks.family import RARE, Family, activations, flag, priced
from robaudit.inputs.networks.norms import SCALED, divides, is_norm
from robaudit.inputs.networks.residual import ResidualNet, ResidualPlan
from robaudit.inputs.networks.texts import WORDS, read_options, value_text

_SMALL = ResidualPlan((16, 32, 64), (3, 3, 3), (1, 2, 2), stem=(16, 3, 1))
_LARGE = ResidualPlan((64, 128, 256, 512), (2, 2, 2, 2), (1, 2, 2, 2))
_DEEP = dataclasses.replace(_LARGE, depths=(3, 4, 6, 3))
_NECK = dataclasses.replace(_DEEP, widths=(256, 512, 1024, 2048), mid=(64, 128, 256, 512))
_PRE = dataclasses.replace(_LARGE, order="pre", stem_norm=False, last_norm=True, shortcut_norm=False)

#: Residual networks by name. CIFAR's own family (16, 32, 64) and ImageNet's with a 3x3 stem.
RESIDUAL: dict[str, ResidualPlan] = {
    **{f"resnet{6 * n + 2}": dataclasses.replace(_SMALL, depths=(n,) * 3) for n in (3, 5, 7, 9, 18)},
    "resnet18": _LARGE,
    "resnet34": _DEEP,
    "resnet50": _NECK,
    "resnet101": dataclasses.replace(_NECK, depths=(3, 4, 23, 3)),
    "resnet152": dataclasses.replace(_NECK, depths=(3, 8, 36, 3)),
    "preactresnet18": _PRE,
    "preactresnet34": dataclasses.replace(_PRE, depths=_DEEP.depths),
    "preactresnet50": dataclasses.replace(_PRE, depths=_NECK.depths, widths=_NECK.widths, mid=_NECK.mid),
}

_WORDS = {
    **WORDS,
    "activation": (*ACTIVATIONS, *SLOPES).__contains__,
    "order": ("post", "pre").__contains__,
    "project": ("needed", "first", "all").__contains__,
    "norm": is_norm,
}
WIDE = re.compile(r"(?:wrn|wideresnet|wide-resnet|wide_resnet)[-_]?(\d+)[-_x](\d+)")


def wide_plan(depth: int, width: int) -> ResidualPlan:
    """WRN-depth-width: 16 channels, then three stages of (depth - 4) / 6 pre-activation blocks.

    Raises:
        RobauditError: depth is not 6 n + 4.

    """
    if (depth - 4) % 6 or depth < 10 or not 1 <= width <= 100:
        raise RobauditError(
            f"wrn-{depth}-{width}: depth must be 6 n + 4 and width 1 to 100, for example wrn-28-10"
        )
    widths = (16 * width, 32 * width, 64 * width)
    return dataclasses.replace(
        _PRE, widths=widths, depths=((depth - 4) // 6,) * 3, strides=(1, 2, 2), stem=(16, 3, 1)
    )


def parse_residual(spec: str) -> ResidualPlan | None:
    """The plan of `NAME`, `NAME:key=value,...` or `residual:key=value,...`; None for other names.

    Raises:
        RobauditError: a residual network's name with a bad option.

    """
    name, _, options = spec.partition(":")
    if match := WIDE.fullmatch(name.lower()):
        plan = wide_plan(int(match[1]), int(match[2]))
    elif name == "residual":
        plan = _LARGE
    elif name in RESIDUAL:
        plan = RESIDUAL[name]
    else:
        return None
    plan = dataclasses.replace(plan, **read_options(spec, options, ResidualPlan, _WORDS))
    stages = {len(plan.widths), len(plan.depths), len(plan.strides), len(plan.mid or plan.widths)}
    if len(stages) != 1 or len(plan.stem) != 3 or sum(plan.depths) > 1000 or max(plan.widths) > 1 << 16:
        raise RobauditError(
            f"{spec}: widths, depths and strides (and mid) need one number a stage, stem three"
        )
    if not set(plan.normed) <= {1, 2, *((3,) if plan.mid else ())}:
        raise RobauditError(f"{spec}: normed names a block's convolutions, from 1 to {3 if plan.mid else 2}")
    if not 0 <= plan.se <= min(plan.widths):
        raise RobauditError(f"{spec}: se must be from 0 to {min(plan.widths)}, the narrowest stage")
    return plan


def residual_spec(plan: ResidualPlan) -> str:
    """The shortest text that `parse_residual` reads back as `plan`."""
    named = dict(RESIDUAL)
    if (
        plan.order == "pre"
        and len(plan.widths) == 3
        and plan.widths[0] % 16 == 0
        and len(set(plan.depths)) == 1
    ):
        depth, width = 6 * plan.depths[0] + 4, plan.widths[0] // 16
        if width <= 100:
            named[f"wrn-{depth}-{width}"] = wide_plan(depth, width)
    named["residual"] = _LARGE
    texts = []
    for name, base in named.items():
        changed = [
            key for key in ResidualPlan.__dataclass_fields__ if getattr(plan, key) != getattr(base, key)
        ]
        if name == "residual" or not {"widths", "depths", "order", "mid"} & set(changed):
            options = ",".join(f"{key}={value_text(getattr(plan, key))}" for key in changed)
            texts.append(f"{name}:{options}" if options else name)
    return min(texts, key=len)


def _norms(plan: ResidualPlan) -> dict[str, float]:
    widths = {*plan.widths, *plan.mid}
    return (
        {word: cost for word, cost in SCALED.items() if divides(word, widths)} if plan.norm in SCALED else {}
    )


def _shortcuts(plan: ResidualPlan) -> dict[str, float]:
    if "conv" in plan.shortcut:
        return {"conv": 0.0, "pool-conv": RARE}
    return {"pad": 0.0, "pad-end": 0.3, "pool-pad-end": 0.6, "pool-pad": 0.9}


def _strides(plan: ResidualPlan) -> dict[tuple[int, ...], float]:
    """Of the stages: two but in the first; perhaps there too, if it has a shortcut; perhaps nowhere."""
    if plan.even:
        return {}
    rest = plan.strides[1:]
    rest = (2,) * len(rest) if set(rest) == {1} else rest
    prices = {(1,) * len(plan.strides): 2.0, (1, *rest): 0.0}  # of one stage both are the same
    # Otherwise the first stage has no shortcut in which a stride could be.
    if "conv" not in plan.shortcut or plan.project != "needed" or plan.widths[0] != plan.stem[0]:
        prices[2, *rest] = 1.0
    return prices


def _stems(plan: ResidualPlan) -> dict[tuple[Any, ...], float]:
    """(first convolution, pooling after it): of a kernel of 7 as for ImageNet, else neither strided nor pooled."""
    channels, kernel, _ = plan.stem
    usual = [(2, True)] if kernel == 7 else []
    ways = dict.fromkeys([*usual, (1, False), (2, False), (2, True), (1, True)])
    return {((channels, kernel, stride), pool): 1.4 * rank for rank, (stride, pool) in enumerate(ways)}


def _partly_normed(plan: ResidualPlan) -> bool:
    """Whether norms are missing: then much is as its author pleased, strides and shortcuts at other places too."""
    return plan.order == "pre" and bool(plan.normed or plan.norm == "none")


FAMILY = Family(
    ResidualPlan,
    parse=parse_residual,
    text=residual_spec,
    build=ResidualNet,
    free=(
        priced(
            "shortcut_raw",
            lambda plan: (
                {False: 0.0, True: 0.2 if _partly_normed(plan) else RARE} if plan.order == "pre" else {}
            ),
        ),
        priced(
            "stride_last",
            lambda plan: {} if plan.mid else {False: 0.0, True: 0.4 if _partly_normed(plan) else RARE},
        ),
        priced("shortcut", _shortcuts),
        priced("strides", _strides),
        priced("stem", _stems, "stem", "stem_pool"),
        priced("norm", _norms),
        activations(),
        flag("pad_end", joint=True),
        flag("pool_max"),
        flag("cosine"),
        flag("hidden_linear", when=lambda plan: plan.hidden),
        priced(
            "last_act",
            lambda plan: (
                {_partly_normed(plan): 0.0, not _partly_normed(plan): RARE}
                if plan.order == "pre" and not plan.last_norm
                else {}
            ),
        ),
        flag("stride_first", when=lambda plan: plan.mid),
    ),
)
