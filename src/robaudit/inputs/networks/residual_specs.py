"""Residual networks as text that rebuilds them: `resnet20:shortcut=pad`, `wrn-28-10`, `residual:...`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_args

from robaudit.errors import RobauditError
from robaudit.inputs.networks.activations import ACTIVATIONS, SLOPES
from robaudit.inputs.networks.norms import is_norm
from robaudit.inputs.networks.residual import ResidualPlan
from robaudit.inputs.networks.residual_parts import Shortcut
from robaudit.inputs.networks.specs import value_text

_SMALL = ResidualPlan((16, 32, 64), (3, 3, 3), (1, 2, 2), stem=(16, 3, 1))
_LARGE = ResidualPlan((64, 128, 256, 512), (2, 2, 2, 2), (1, 2, 2, 2))
_DEEP = dataclasses.replace(_LARGE, depths=(3, 4, 6, 3))
_NECK = dataclasses.replace(_DEEP, widths=(256, 512, 1024, 2048), mid=(64, 128, 256, 512), project="needed")
_PRE = dataclasses.replace(_LARGE, order="pre", stem_norm=False, last_norm=True, shortcut_norm=False)

#: Residual networks by name. CIFAR's own family (16, 32, 64) and ImageNet's with a 3x3 stem.
RESIDUAL: dict[str, ResidualPlan] = {
    "resnet20": _SMALL,
    "resnet32": dataclasses.replace(_SMALL, depths=(5, 5, 5)),
    "resnet44": dataclasses.replace(_SMALL, depths=(7, 7, 7)),
    "resnet56": dataclasses.replace(_SMALL, depths=(9, 9, 9)),
    "resnet110": dataclasses.replace(_SMALL, depths=(18, 18, 18)),
    "resnet18": _LARGE,
    "resnet34": _DEEP,
    "resnet50": _NECK,
    "resnet101": dataclasses.replace(_NECK, depths=(3, 4, 23, 3)),
    "resnet152": dataclasses.replace(_NECK, depths=(3, 8, 36, 3)),
    "preactresnet18": _PRE,
    "preactresnet34": dataclasses.replace(_PRE, depths=(3, 4, 6, 3)),
    "preactresnet50": dataclasses.replace(
        _NECK, order="pre", stem_norm=False, last_norm=True, shortcut_norm=False
    ),
}

WIDE = re.compile(r"(?:wrn|wideresnet|wide-resnet|wide_resnet)[-_]?(\d+)[-_x](\d+)")


def wide_plan(depth: int, width: int) -> ResidualPlan:
    """WRN-depth-width: 16 channels, then three stages of (depth - 4) / 6 pre-activation blocks.

    Raises:
        RobauditError: depth is not 6 n + 4.

    """
    if (depth - 4) % 6 or depth < 10 or not 1 <= width <= 100:
        raise RobauditError(f"wrn-{depth}-{width}: depth must be 6 n + 4 and width 1 to 100, as in wrn-28-10")
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
    values = {}
    for option in filter(None, options.split(",")):
        key, _, text = option.partition("=")
        values[key] = _value(spec, key, text)
    plan = dataclasses.replace(plan, **values)
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


def _value(spec: str, key: str, text: str) -> Any:
    default = getattr(_LARGE, key, None)
    choices: dict[str, tuple[str, ...]] = {
        "order": ("post", "pre"),
        "project": ("needed", "first", "all"),
        "shortcut": get_args(Shortcut),
        "activation": (*ACTIVATIONS, *SLOPES),
    }
    try:
        if key not in ResidualPlan.__dataclass_fields__ or (key in choices and text not in choices[key]):
            raise ValueError
        if key == "norm" and not is_norm(text):
            raise ValueError
        if isinstance(default, bool):
            return {"yes": True, "no": False}[text]
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split("-")) if text else ()
        return int(text) if isinstance(default, int) else text
    except (ValueError, KeyError):
        raise RobauditError(f"{spec}: cannot read '{key}={text}'; write it as robaudit prints it") from None


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
