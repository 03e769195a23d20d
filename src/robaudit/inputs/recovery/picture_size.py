"""The size of the pictures that go into a network, as the JSON beside a Hugging Face or timm checkpoint says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: The share of the shorter side that is left of small pictures, of Hugging Face's kinds that crop by it.
CROP_PCT = 224 / 256
#: What pictures are resized to at most, as by `--image-size`.
LARGEST = 4096
#: The side from which on those kinds crop nothing.
WHOLE = 384


@dataclass(frozen=True)
class PictureSize:
    """What pictures are brought to.

    Attributes:
        side: of the square that goes in; 0 where it is not said.
        resize: what the shorter side is brought to before the middle is taken; at least `side`.

    """

    side: int
    resize: int

    @property
    def text(self) -> str:
        """As `--image-size` takes it; empty where nothing is said."""
        return f"{self.side}:{self.resize}" if self.side else ""


def picture_size(config: dict[str, Any], prepared: dict[str, Any]) -> PictureSize:
    """What a preprocessor's or timm's settings say, else the network's own `image_size`.

    Args:
        config: the network's settings.
        prepared: the preprocessor's, or timm's `pretrained_cfg`.

    """
    size, crop = _side(prepared, "size"), _side(prepared, "crop_size") if _crops(prepared) else 0
    side = crop or size or _input_side(prepared) or _side(config, "image_size")
    if crop:
        return _possible(side, max(size, side))
    share = prepared.get("crop_pct", CROP_PCT if _crops_by_share(prepared) else 1.0)
    if (
        not isinstance(share, (int, float))
        or not 0.1 <= share <= 1
        or (_crops_by_share(prepared) and side >= WHOLE)
    ):
        share = 1.0
    return _possible(side, int(side / share))


def _possible(side: int, resize: int) -> PictureSize:
    """Nothing where the numbers are beyond what pictures are resized to."""
    return PictureSize(side, resize) if resize <= LARGEST else PictureSize(0, 0)


def _crops(prepared: dict[str, Any]) -> bool:
    return bool(prepared.get("do_center_crop"))


def _crops_by_share(prepared: dict[str, Any]) -> bool:
    """Whether it is of ConvNeXt's kind, whose `size` is what is left after the crop."""
    names = (prepared.get(key) for key in ("image_processor_type", "feature_extractor_type"))
    return any(str(name).startswith("ConvNext") for name in names)


def _side(settings: dict[str, Any], key: str) -> int:
    """The side of a square that is given as a number or in one of Hugging Face's forms, else 0."""
    value = settings.get(key)
    if isinstance(value, dict):
        sides = {value.get(name) for name in ("height", "width", "shortest_edge")} - {None}
        value = sides.pop() if len(sides) == 1 else 0
    return value if type(value) is int and value > 0 else 0


def _input_side(prepared: dict[str, Any]) -> int:
    """The side of timm's `input_size` (C, H, W), else 0."""
    value = prepared.get("input_size")
    if not isinstance(value, list) or len(value) != 3 or type(value[1]) is not int or value[1] != value[2]:
        return 0
    return max(value[1], 0)
