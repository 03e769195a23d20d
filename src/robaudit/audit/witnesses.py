"""Whether each claimed break is one, by one strict float32 pass over its witness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from robaudit.devices import in_parts
from robaudit.engine import strictly_misclassified
from robaudit.evidence import WitnessRow, decode_image, decode_witness, inside
from robaudit.plan import ThreatModel, title

_BATCH = 256
#: Values of all images of a batch: 256 MB.
_VALUES = 1 << 26


def batch_of(shape: Sequence[int]) -> int:
    """How many images (C, H, W) to take at once."""
    return max(1, min(_BATCH, _VALUES // math.prod(shape)))


def failing_witnesses(
    rows: list[WitnessRow], threat: ThreatModel, model: nn.Module, shape: tuple[int, ...], device: str
) -> list[str]:
    """What is wrong with which: a witness must be inside the ball and [0, 1], finite, and misclassified by `model`.

    By the smallest margin, too: an audit asks for a larger one, so that another machine's rounding does not undo it.
    """

    def check(part: torch.Tensor) -> list[str]:
        return _failing([rows[k] for k in part.tolist()], threat, model, shape, device)

    return [text for found in in_parts(check, torch.arange(len(rows)), batch_of(shape)) for text in found]


def _name(row: WitnessRow) -> str:
    return f"{title(row.attack)} on example {row.id}"


def _failing(
    rows: list[WitnessRow], threat: ThreatModel, model: nn.Module, shape: tuple[int, ...], device: str
) -> list[str]:
    good, x, x_adv, failures = [], [], [], []
    for row in rows:
        try:
            image = decode_image(row.image, shape)  # type: ignore[arg-type]
            x_adv.append(decode_witness(row.witness, image, threat))
        except ValueError as error:
            failures.append(f"{_name(row)}: {error}")
            continue
        x.append(image)
        good.append(row)
    if not good:
        return failures
    points = np.stack(x_adv)
    valid = inside(points, np.stack(x), threat)
    labels = torch.tensor([row.label for row in good], device=device)
    fools = strictly_misclassified(model, torch.from_numpy(points).to(device), labels, 0.0).tolist()
    for row, contained, fooled in zip(good, valid.tolist(), fools, strict=True):
        if not contained:
            failures.append(f"{_name(row)}: outside the ball or [0, 1]")
        elif not fooled:
            failures.append(f"{_name(row)}: the model classifies it correctly")
    return failures
