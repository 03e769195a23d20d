"""Plain networks by name, and how a plan of numbers is written: `densenet:growth=12,...`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from robaudit.errors import RobauditError
from robaudit.inputs.networks.activations import ACTIVATIONS
from robaudit.inputs.networks.residual_parts import Shortcut

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
    # Tramer & Boneh 2021, https://arxiv.org/abs/2011.11660, after Papernot et al.: the MNIST net of private training.
    "dp-mnist": "conv16k8s2p3 relu max2s1 conv32k4s2 relu max2s1 flatten fc32 relu fcK",
    "lenet5": "conv6k5 relu max2 conv16k5 relu max2 flatten fc120 relu fc84 relu fcK",
    "lenet-mnist": "conv20k5 relu max2 conv50k5 relu max2 flatten fc500 relu fcK",
    "cnn6": "conv32k3p1 bn relu conv32k3p1 bn relu max2 conv64k3p1 bn relu conv64k3p1 bn relu max2 "
    "conv128k3p1 bn relu conv128k3p1 bn relu max2 flatten fc128 relu fcK",
    # Springenberg et al. 2015, https://arxiv.org/abs/1412.6806, as Hendrycks et al. 2019, https://arxiv.org/abs/1812.04606
    # publish it: 1x1 convolutions are padded, the pooling leaves a margin out.
    "allconv": "conv96k3p1 bn quickgelu " * 3 + "max2 " + "conv192k3p1 bn quickgelu " * 3 + "max2 "
    "conv192k3 bn quickgelu " + "conv192k1p1 bn quickgelu " * 2 + "avg8 flatten fcK",
    "mlp": "flatten fc256 relu fc256 relu fcK",
}  # fmt: skip

_VGG = {
    "11": (1, 1, 2, 2, 2),
    "13": (2, 2, 2, 2, 2),
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}


#: The VGG names that files are compared with.
VGGS = tuple(f"vgg{depth}{norm}" for depth in _VGG for norm in ("", "_bn"))


def mobilenet_text() -> str:
    """MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861) with CIFAR's strides."""
    words, channels = ["conv32k3p1n bn relu"], 32
    for width in (64, 128, 128, 256, 256, 512, *[512] * 5, 1024, 1024):
        stride = "s2" if width > channels > 32 else ""
        words.append(f"conv{channels}k3{stride}p1g{channels}n bn relu conv{width}k1n bn relu")
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


#: Whether a field that takes words takes one.
WORDS: dict[str, Callable[[str], bool]] = {
    "activation": ACTIVATIONS.__contains__,
    "shortcut": get_args(Shortcut).__contains__,
}


def value_text(value: Any) -> str:
    """A field's value as specifications write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


_NAMES = {text: name for name, text in {**{name: vgg_text(name) for name in VGGS}, **SEQUENTIAL}.items()}


def sequential_spec(words: str) -> str:
    """The name of a plain network's text where it has one, else `sequential:` and the text."""
    return _NAMES.get(words, f"sequential:{words}")


def sequential_words(spec: str) -> str | None:
    """The words of a plain network's name or text; None for other kinds."""
    if spec.startswith("sequential:"):
        return spec.removeprefix("sequential:")
    return SEQUENTIAL.get(spec) or vgg_text(spec)


def plan_text(kind: str, plan: Any) -> str:
    """A plan of numbers as `kind:field=value,...`, without what is as it is by default."""
    fields = ((item, getattr(plan, item.name)) for item in dataclasses.fields(plan))
    return f"{kind}:" + ",".join(
        f"{item.name}={value_text(value)}" for item, value in fields if value != item.default
    )


def read_options(
    spec: str, text: str, plan: type[Any], words: Mapping[str, Callable[[str], bool]] = WORDS
) -> dict[str, Any]:
    """The values of a plan's fields in `field=value,...`.

    Args:
        spec: the whole text, for the message.
        text: the options.
        plan: whose fields they are: whole and other numbers, `yes` and `no`, numbers joined by `-`, or words.
        words: for fields that take words, whether they take one.

    Raises:
        RobauditError: a field is unknown, or cannot have such a value.

    """
    types = {item.name: str(item.type) for item in dataclasses.fields(plan)}
    values: dict[str, Any] = {}
    for option in filter(None, text.split(",")):
        name, _, value = option.partition("=")
        try:
            if types[name].startswith("tuple"):
                values[name] = tuple(int(part) for part in value.split("-")) if value else ()
            elif types[name] == "bool":
                values[name] = {"yes": True, "no": False}[value]
            elif types[name] in ("int", "float"):
                values[name] = {"int": int, "float": float}[types[name]](value)
            elif words[name](value):
                values[name] = value
            else:
                raise ValueError
        except (KeyError, ValueError):
            raise RobauditError(f"{spec}: cannot read '{option}'; write it as robaudit prints it") from None
    return values


def parse_plan(spec: str, plan: type[Any]) -> Any:
    """The plan that `plan_text` wrote.

    Raises:
        RobauditError: a field is missing, unknown or out of bounds.

    """
    values = read_options(spec, spec.partition(":")[2], plan)
    numbers = [n for value in values.values() for n in (value if isinstance(value, tuple) else (value,))]
    numbers = [n for n in numbers if not isinstance(n, str)]
    try:
        if any(not 0 <= n <= 1 << 16 for n in numbers) or len(numbers) > 1000:
            raise ValueError
        return plan(**values)
    except (ValueError, TypeError):
        raise RobauditError(f"{spec}: cannot be read; write it as robaudit prints it") from None
