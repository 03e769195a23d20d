"""Whether each claimed break is one, by one strict float32 pass over its witness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from robaudit.attacks import forward
from robaudit.devices import in_parts
from robaudit.engine import clearly_misclassified
from robaudit.evidence import WitnessRow, decode_image, decode_witness, inside
from robaudit.fast import strict_arithmetic
from robaudit.plan import ThreatModel, title

_BATCH = 256
#: Classes whose logits differ by no more than this share of their spread may change places on another machine.
NEAR_TIE = 1e-4
#: Values of all images of a batch: 256 MB.
_VALUES = 1 << 26


def batch_of(shape: Sequence[int]) -> int:
    """How many images (C, H, W) to take at once."""
    return max(1, min(_BATCH, _VALUES // math.prod(shape)))


def failing_witnesses(
    rows: list[WitnessRow], threat: ThreatModel, model: nn.Module, shape: tuple[int, ...], device: str
) -> tuple[list[str], list[str]]:
    """What is wrong with which: a witness must be inside the ball and [0, 1], finite, and misclassified by `model`.

    By the smallest margin, too: an audit asks for a larger one, so that another machine's rounding does not undo it.

    Returns:
        Of those that prove nothing, a sentence each; and of those that `model` takes for another class than is stated.

    """

    def check(part: torch.Tensor) -> tuple[list[str], list[str]]:
        return _failing([rows[k] for k in part.tolist()], threat, model, shape, device)

    parts = in_parts(check, torch.arange(len(rows)), batch_of(shape))
    return [text for bad, _ in parts for text in bad], [text for _, others in parts for text in others]


def _name(row: WitnessRow) -> str:
    return f"{title(row.attack)} on example {row.id}"


def _failing(
    rows: list[WitnessRow], threat: ThreatModel, model: nn.Module, shape: tuple[int, ...], device: str
) -> tuple[list[str], list[str]]:
    good, x, x_adv = [], [], []
    failures: list[str] = []
    others: list[str] = []
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
        return failures, others
    points = np.stack(x_adv)
    valid = inside(points, np.stack(x), threat)
    labels = torch.tensor([row.label for row in good], device=device)
    with strict_arithmetic():
        logits = forward(model, torch.from_numpy(points).to(device))
    fools = clearly_misclassified(logits, labels, 0.0).tolist()
    spread, behind = logits.amax(1) - logits.amin(1), logits.amax(1, keepdim=True) - logits
    for row, contained, fooled, wide, lacks in zip(
        good, valid.tolist(), fools, spread.tolist(), behind.tolist(), strict=True
    ):
        if not contained:
            failures.append(f"{_name(row)}: outside the ball or [0, 1]")
        elif not fooled:
            failures.append(f"{_name(row)}: the model classifies it correctly")
        elif row.prediction is not None and not _given(row.prediction, lacks, wide):
            others.append(f"{_name(row)}: the model does not take its witness for class {row.prediction}")
    return failures, others


def _given(prediction: int, lacks: list[float], spread: float) -> bool:
    """Whether the model gives this class, whose logit `lacks` so much of the largest, near-ties aside."""
    return prediction < len(lacks) and lacks[prediction] <= NEAR_TIE * spread
