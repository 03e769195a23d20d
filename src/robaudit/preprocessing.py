"""What `--normalise` and `--image-size` write in numbers, read without torch."""

from __future__ import annotations

import math
import re

from robaudit.errors import RobauditError

#: Pixels of a side that pictures are resized to at most.
MOST_PIXELS = 4096
Numbers = tuple[float, ...]


def means_and_deviations(text: str, channels: int | None) -> tuple[Numbers, Numbers]:
    """The numbers of `m,m,m/s,s,s`, one each a channel; one alone is for all of them.

    Args:
        text: of `--normalise`, without what may stand before the numbers.
        channels: C of the images; None where it is not known.

    Raises:
        RobauditError: no such numbers, not as many, or a deviation that is not above 0.

    """
    try:
        mean, std = (tuple(float(part) for part in side.split(",")) for side in text.split("/"))
    except ValueError:
        raise RobauditError(
            f"--normalise {text}: not means and deviations; write numbers m,m,m/s,s,s"
        ) from None
    counts = {len(side) for side in (mean, std)} - {1}
    if len(counts) > 1 or (channels is not None and counts - {channels}):
        many = "as many means as deviations"
        if channels is not None:
            many = f"{channels} means and {channels} deviations" if channels > 1 else "1 mean and 1 deviation"
        raise RobauditError(f"--normalise {text}: give {many}, or one each for all channels")
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise RobauditError(f"--normalise {text}: deviations must be above 0 and all numbers finite")
    return mean, std


def crop_sizes(text: str) -> tuple[int, int]:
    """The side that is cut out, and what the shorter side is resized to before: of `224` (to 256) or `224:232`.

    Raises:
        RobauditError: no such sizes.

    """
    sizes = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text.strip(), flags=re.ASCII)
    side = int(sizes[1]) if sizes else 0
    resized = int(sizes[2] or round(side * 256 / 224)) if sizes else 0
    if not 1 <= side <= resized <= MOST_PIXELS:
        raise RobauditError(f"image-size {text}: write it as 224, or 224:256 with what is resized to first")
    return side, resized
