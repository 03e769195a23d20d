"""Architectures as text that rebuilds them: `resnet20:shortcut=pad`, `residual:...`, `sequential:...`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_args

from robaudit.errors import RobauditError
from robaudit.inputs.architectures.activations import ACTIVATIONS
from robaudit.inputs.architectures.residual import ResidualPlan, Shortcut

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

#: Plain networks by name; `K` is the number of classes.
SEQUENTIAL: dict[str, str] = {
    "digits-cnn": "conv32k3p1 relu conv64k3p1 relu max2 flatten fc128 relu fcK",
    # TRADES' network for MNIST (Zhang et al. 2019, https://arxiv.org/abs/1901.08573), after Carlini & Wagner.
    "smallcnn": "conv32k3 relu conv32k3 relu max2 conv64k3 relu conv64k3 relu max2 "
    "flatten fc200 relu fc200 relu fcK",
    # Madry et al. 2018, https://arxiv.org/abs/1706.06083, the MNIST challenge's network.
    "madry-mnist": "conv32k5p2 relu max2 conv64k5p2 relu max2 flatten fc1024 relu fcK",
    # Wong & Kolter 2018, https://arxiv.org/abs/1711.00851, and much of the certified-training literature.
    "cnn-small": "conv16k4s2p1 relu conv32k4s2p1 relu flatten fc100 relu fcK",
    "cnn-large": "conv32k3p1 relu conv32k4s2p1 relu conv64k3p1 relu conv64k4s2p1 relu "
    "flatten fc512 relu fc512 relu fcK",
    "cnn7": "conv64k3p1 bn relu conv64k3p1 bn relu conv128k3s2p1 bn relu conv128k3p1 bn relu "
    "conv128k3p1 bn relu flatten fc512 relu fcK",
    "lenet5": "conv6k5 relu max2 conv16k5 relu max2 flatten fc120 relu fc84 relu fcK",
    "lenet-mnist": "conv20k5 relu max2 conv50k5 relu max2 flatten fc500 relu fcK",
    "cnn6": "conv32k3p1 bn relu conv32k3p1 bn relu max2 conv64k3p1 bn relu conv64k3p1 bn relu max2 "
    "conv128k3p1 bn relu conv128k3p1 bn relu max2 flatten fc128 relu fcK",
    "mlp": "flatten fc256 relu fc256 relu fcK",
}  # fmt: skip

WIDE = re.compile(r"(?:wrn|wideresnet|wide-resnet|wide_resnet)[-_]?(\d+)[-_x](\d+)")
_VGG = {
    "11": (1, 1, 2, 2, 2),
    "13": (2, 2, 2, 2, 2),
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}


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


#: The VGG names that files are compared with.
VGGS = tuple(f"vgg{depth}{norm}" for depth in _VGG for norm in ("", "_bn"))


def mobilenet_text() -> str:
    """MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861) with CIFAR's strides."""
    words, channels = ["conv32k3p1n bn relu"], 32
    for width, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        words.append(
            f"conv{channels}k3{'s2' if stride == 2 else ''}p1g{channels}n bn relu conv{width}k1n bn relu"
        )
        channels = width
    return " ".join([*words, "gap", "flatten", "fcK"])


def vgg_text(name: str) -> str | None:
    """`vgg16`, `vgg16_bn`: the CIFAR version, one linear layer after five poolings (else None)."""
    match = re.fullmatch(r"vgg(\d+)(_bn)?", name)
    if not match or match[1] not in _VGG:
        return None
    words = []
    for width, depth in zip((64, 128, 256, 512, 512), _VGG[match[1]], strict=True):
        words += [f"conv{width}k3p1", *(["bn"] if match[2] else []), "relu"] * depth + ["max2"]
    return " ".join([*words, "gap", "flatten", "fcK"])


SEQUENTIAL["mobilenet"] = mobilenet_text()


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
    return plan


def _value(spec: str, key: str, text: str) -> Any:
    default = getattr(_LARGE, key, None)
    choices: dict[str, tuple[str, ...]] = {
        "order": ("post", "pre"),
        "project": ("needed", "first", "all"),
        "norm": ("batch", "none"),
        "shortcut": get_args(Shortcut),
        "activation": tuple(ACTIVATIONS),
    }
    try:
        if key not in ResidualPlan.__dataclass_fields__ or (key in choices and text not in choices[key]):
            raise ValueError
        if isinstance(default, bool):
            return {"yes": True, "no": False}[text]
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split("-")) if text else ()
        return int(text) if isinstance(default, int) else text
    except (ValueError, KeyError):
        raise RobauditError(f"{spec}: cannot read '{key}={text}'; write it as robaudit prints it") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


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
            options = ",".join(f"{key}={_text(getattr(plan, key))}" for key in changed)
            texts.append(f"{name}:{options}" if options else name)
    return min(texts, key=len)


def sequential_spec(words: str) -> str:
    """The name of a plain network's text where it has one, else `sequential:` and the text."""
    return next((name for name, text in SEQUENTIAL.items() if text == words), f"sequential:{words}")


def sequential_words(spec: str) -> str | None:
    """The words of a plain network's name or text; None for other kinds."""
    if spec.startswith("sequential:"):
        return spec.removeprefix("sequential:")
    return SEQUENTIAL.get(spec) or vgg_text(spec)


def plan_text(kind: str, plan: Any) -> str:
    """A plan of numbers as `kind:field=value,...`."""
    fields = ((item.name, getattr(plan, item.name)) for item in dataclasses.fields(plan))
    return f"{kind}:" + ",".join(f"{name}={_text(value)}" for name, value in fields)


def parse_plan(spec: str, plan: type[Any]) -> Any:
    """The plan that `plan_text` wrote.

    Raises:
        RobauditError: a field is missing, unknown or no number.

    """
    options = dict(part.partition("=")[::2] for part in spec.partition(":")[2].split(","))
    names = {item.name: str(item.type) for item in dataclasses.fields(plan)}
    try:
        values: dict[str, Any] = {}
        for name, text in options.items():
            kind = names[name]
            if kind.startswith("tuple"):
                values[name] = tuple(int(part) for part in text.split("-")) if text else ()
            else:
                values[name] = {"yes": True, "no": False}[text] if kind == "bool" else int(text)
        sizes = [n for value in values.values() for n in (value if isinstance(value, tuple) else (value,))]
        if any(not 0 <= n <= 1 << 16 for n in sizes) or len(sizes) > 1000:
            raise ValueError
        return plan(**values)
    except (KeyError, ValueError, TypeError):
        raise RobauditError(f"{spec}: cannot be read; write it as robaudit prints it") from None
