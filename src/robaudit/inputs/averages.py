"""Averages of the weights (EMA, SWA) beside the weights themselves: images say which is the model."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from robaudit.inputs.classifier import Classifier
from robaudit.inputs.data.images import Images

#: Images that both are compared on at most, in batches, and averages that are.
MOST_IMAGES, BATCH_IMAGES, MOST_AVERAGES = 2000, 100, 3
#: Standard deviations (sign test) by which an average must be right more often to be taken.
CLEAR_DEVIATIONS = 2.0


def better_average(
    plain: Classifier, averages: list[str], load: Callable[[str], Classifier], images: Images
) -> tuple[Classifier, list[str]]:
    """The weights that are clearly right most often, the plain ones where none is, and a sentence on it.

    Args:
        plain: the plain weights' classifier.
        averages: keys of averages in its file.
        load: the classifier of a key.
        images: labelled.

    """
    best, right = plain, _right(plain, images)
    accuracies = [f"the plain weights are right on {_percent(right)}"]
    for key in averages[:MOST_AVERAGES]:
        other = load(key)
        found = _right(other, images)
        accuracies.append(f"{key} on {_percent(found)}")
        won, lost = int((found & ~right).sum()), int((right & ~found).sum())
        if won - lost > CLEAR_DEVIATIONS * math.sqrt(max(won + lost, 1)):
            best, right = other, found
    taken = best.info.key or "the plain weights"
    note = f"of {len(right)} images {', '.join(accuracies)}; took {taken}, --key chooses"
    return best, [note]


def _right(classifier: Classifier, images: Images) -> torch.Tensor:
    """(n,) bool."""
    rows = range(0, min(len(images), MOST_IMAGES), BATCH_IMAGES)
    device = classifier.mean.device
    parts = (slice(start, min(start + BATCH_IMAGES, MOST_IMAGES)) for start in rows)
    with torch.no_grad():
        return torch.cat(
            [
                classifier(images.float(part).to(device)).argmax(1).cpu() == images.labels[part]
                for part in parts
            ]
        )


def _percent(right: torch.Tensor) -> str:
    return f"{float(right.float().mean()):.1%}"
