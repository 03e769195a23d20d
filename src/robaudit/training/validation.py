"""The held-out examples of a run: what the network in training is worth on them, measured by the first rank for all."""

from __future__ import annotations

import torch
from torch import nn

from robaudit.inputs import Images
from robaudit.ranks import Ranks
from robaudit.training.metrics import Measured, black_box_gap, measure, plan_for
from robaudit.training.network import Shape, Trained, as_classifier
from robaudit.training.settings import TrainSettings

#: A suspect epoch is masked where PGD-10 minus Square of 1,000 queries reaches this on this many held-out examples; the
#: paper's criterion, 8 points, is of the full attack, which finds more.
GAP, CONFIRM = 0.06, 256


class Validation:
    """Measures on `held`, which nobody trains on."""

    def __init__(self, held: Images, settings: TrainSettings, shape: Shape, ranks: Ranks) -> None:
        device = torch.device(settings.device)
        self._x, self._y, self._ids = held.float().to(device), held.labels.to(device), held.ids.to(device)
        self._settings, self._shape, self._ranks = settings, shape, ranks
        self._plan = plan_for(settings.inner.eps, settings.seed)

    def _classifier(self, network: Trained) -> nn.Module:
        return as_classifier(network, self._settings, self._shape)

    def measure(self, network: Trained) -> Measured:
        """PGD-10, FOSC and SGCS on all of them."""
        found = None
        if self._ranks.first:
            found = measure(self._classifier(network), self._x, self._y, self._ids, self._plan)
        agreed = self._ranks.agree(found)
        assert agreed is not None  # the first rank's
        return agreed

    def gap(self, network: Trained) -> float:
        """PGD-10 minus Square on the first of them, as a fraction."""
        found = 0.0
        if self._ranks.first:
            x, y, ids = (tensor[:CONFIRM] for tensor in (self._x, self._y, self._ids))
            found = black_box_gap(self._classifier(network), x, y, ids, self._plan)
        return float(self._ranks.agree(found))
