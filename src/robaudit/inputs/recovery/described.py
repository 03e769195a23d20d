"""What the JSON beside a Hugging Face checkpoint says of the network and of what images go through before it.

`config.json` chooses among known kinds and sets their numbers; it names no code.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.model_folders import CONFIG, PREPROCESSOR
from robaudit.inputs.networks.transformer import TransformerPlan
from robaudit.inputs.normalisation import NAMED, Normalisation, parse_normalisation
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.picture_size import PictureSize, picture_size

#: What kinds of networks and timm's are called.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")
#: The kinds that are built: classifiers of images, whose code is in the package.
KINDS = {
    "beit", "bit", "convnext", "convnextv2", "data2vec-vision", "deit", "dinov2", "dinov2_with_registers",
    "efficientnet", "focalnet", "levit", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer",
    "pvt", "pvt_v2", "regnet", "resnet", "segformer", "swiftformer", "swin", "swinv2", "vit", "vit_msn",
}  # fmt: skip
#: Those that take images of one size only.
ONE_SIZE = {"beit", "data2vec-vision", "deit", "levit", "vit", "vit_msn"}
#: What the activation of Hugging Face's vision transformers is called, and whether it is ReLU.
RELU = {"gelu": False, "relu": True}


@dataclass(frozen=True)
class Described:
    """What is said.

    Attributes:
        kind: Hugging Face's word for the kind of network (`model_type`); empty for timm's.
        timm: the name of timm's network; empty for others.
        settings: the whole of `config.json`.
        classes: outputs; 0 where it is not said.
        normalisation: as `parse_normalisation` takes it; empty where nothing is said.
        size: of the square images that go in.

    """

    kind: str
    timm: str
    settings: dict[str, Any] = field(repr=False)
    classes: int
    normalisation: str
    size: PictureSize

    @property
    def one_size(self) -> bool:
        """Whether the network takes images of one size only."""
        return self.kind in ONE_SIZE or bool(_timm_settings(self.settings).get("fixed_input_size"))

    @property
    def known(self) -> bool:
        """Whether it is one of the kinds that are built as it says."""
        return bool(self.timm) or self.kind in KINDS

    def stored(self, channels: int) -> Normalisation | None:
        """The normalisation for this many channels, by its name where it has one.

        Raises:
            RobauditError: it is of other channels.

        """
        if not self.normalisation:
            return None
        found = parse_normalisation(self.normalisation, channels)
        same = (
            name for name, (mean, std) in NAMED.items() if _close(found.mean, mean) and _close(found.std, std)
        )
        return replace(found, text=next(same, found.text))


def described(copy: FileCopy) -> Described | None:
    """What lies beside a checkpoint; None where there is nothing that says what it is.

    Raises:
        RobauditError: it is not JSON, or its numbers are none.

    """
    config = _json(copy, CONFIG)
    kind, timm = (_name(config.get(key)) for key in ("model_type", "architecture"))
    if kind == "timm_wrapper" or (not kind and "pretrained_cfg" in config):
        kind = ""
    else:
        timm = ""
    if not kind and not timm:
        return None
    prepared = _json(copy, PREPROCESSOR) or _timm_settings(config)
    try:
        text = _normalisation(prepared)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise RobauditError(
            f"{copy.path}: the normalisation beside it cannot be read; pass --normalise"
        ) from error
    names = config.get("id2label")
    classes = (
        len(names) if isinstance(names, dict) else config.get("num_labels", config.get("num_classes", 0))
    )
    whole = classes if type(classes) is int else 0
    return Described(kind, timm, config, whole, text, picture_size(config, prepared))


def as_transformer(description: Described, options: list[Candidate]) -> Candidate | None:
    """Of what the layers may be, Hugging Face's plain vision transformer with the numbers that are said."""
    settings = description.settings
    relu, heads = RELU.get(str(settings.get("hidden_act", "gelu"))), settings.get("num_attention_heads")
    eps = settings.get("layer_norm_eps", 1e-12)
    if description.kind != "vit" or relu is None or type(heads) is not int or not _is_eps(eps):
        return None
    for option in options:
        plan = option.plan
        if (
            isinstance(plan, TransformerPlan)
            and heads > 0
            and plan.inner % heads == 0
            and plan.token
            and not plan.batch
        ):
            plain = {"mean": False, "post": False, "wide_scale": False, "mean_first": False}
            return option.with_plan(replace(plan, heads=heads, relu=relu, eps=float(eps), **plain), 0.0)
    return None


def _is_eps(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _json(copy: FileCopy, name: str) -> dict[str, Any]:
    try:
        found = json.loads(str(copy.beside.get(name, b"{}"), "utf-8"))
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{copy.path}: {name} beside it is damaged; download it again") from error
    return found if isinstance(found, dict) else {}


def _name(value: object) -> str:
    return value if isinstance(value, str) and NAME.fullmatch(value) else ""


def _timm_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What timm says of the pictures; empty of other networks."""
    found = config.get("pretrained_cfg")
    return found if isinstance(found, dict) else {}


def _normalisation(prepared: dict[str, Any]) -> str:
    """What is done to images in [0, 1], as text, of a preprocessor's or timm's settings; empty if nothing is said."""
    mean, std = (prepared.get(f"image_{name}", prepared.get(name)) for name in ("mean", "std"))
    if "image_processor_type" not in prepared and "feature_extractor_type" not in prepared and mean is None:
        return ""
    factor = float(prepared.get("rescale_factor", 1 / 255)) if prepared.get("do_rescale", True) else 1.0
    scale = 255 * factor  # of what the mean and the deviation are of
    if mean is None or not prepared.get("do_normalize", True):
        mean, std = [0.0], [1.0]
    lists: list[list[Any]] = [side if isinstance(side, list) else [side] for side in (mean, std)]
    sides = [[float(n) / scale for n in side] for side in lists]
    if all(abs(n) < 1e-6 for n in sides[0]) and all(abs(n - 1) < 1e-6 for n in sides[1]):
        return "none"
    return "/".join(",".join(f"{n:.9g}" for n in side) for side in sides)


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 1e-6 for a, b in zip(one, other, strict=True))
