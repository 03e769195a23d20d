"""Learning rates as pure functions of where the run is, so that a resumed run needs to store nothing."""

from __future__ import annotations

import math

from robaudit.training.settings import TrainSettings

# Appendix D: times 0.1 at epochs 100 and 150 of 200.
_MILESTONES, _GAMMA = (0.5, 0.75), 0.1
# The one-cycle policy with torch's defaults (https://arxiv.org/abs/1708.07120): up for 30 % from lr / 25, then down
# to a ten-thousandth of that, both along a cosine.
_UP, _FIRST, _LAST = 0.3, 25.0, 1e4


def learning_rate(settings: TrainSettings, epoch: int, step: int, steps: int) -> float:
    """The rate of one step.

    Args:
        settings: its `lr`, `schedule` and `epochs`.
        epoch: from 0.
        step: within the epoch, from 0.
        steps: of one epoch.

    """
    top, epochs = settings.lr, settings.epochs
    if settings.schedule == "multistep":
        return float(top * _GAMMA ** sum(epoch >= round(share * epochs) for share in _MILESTONES))
    if settings.schedule == "cosine":
        return top * (1 + math.cos(math.pi * epoch / epochs)) / 2
    if settings.schedule == "onecycle":
        return _one_cycle(top, epoch * steps + step, epochs * steps)
    return top


def _one_cycle(top: float, step: int, total: int) -> float:
    up = _UP * total - 1
    low = top / _FIRST
    if step <= up or total <= 1:
        return _anneal(low, top, step / up if up > 0 else 1.0)
    return _anneal(top, low / _LAST, (step - up) / (total - 1 - up))


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
