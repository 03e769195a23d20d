"""The held-out examples of a run: what the network in training is worth on them, measured by the first rank for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from robaudit.fast import search_model
from robaudit.inputs import Images
from robaudit.plan import Budget
from robaudit.ranks import Ranks
from robaudit.stats import at_chance
from robaudit.training.metrics import Measured, measure, plan_for
from robaudit.training.network import Shape, Trained, as_classifier
from robaudit.training.settings import TrainSettings
from robaudit.training.worst_case import Standing, WorstCase, stand

#: The four attacks, those first that break most for their passes.
AUTOATTACK = ("apgd-t", "apgd-ce", "fab-t", "square")
T = TypeVar("T")
GoesOn = Callable[[float, Tensor, Standing], bool]


@dataclass(frozen=True)
class Look:
    """One network, measured.

    Attributes:
        measured: by PGD-10 on all held-out examples.
        after_pgd: (n,) bool on the CPU, those that PGD-10 leaves classified correctly.
        standing: those that the worst case leaves, of the first few or of all.
        seconds: that it took.
        at_chance: whether its clean accuracy is no better than guessing.

    """

    measured: Measured
    after_pgd: Tensor
    standing: Standing
    seconds: float = 0.0
    at_chance: bool = False

    @property
    def gap(self) -> float:
        """PGD-10's accuracy minus the worst case's on the same examples."""
        count = len(self.standing.robust)
        return float((self.after_pgd[:count] & ~self.standing.robust).double().mean())

    def row(self) -> dict[str, Any]:
        """For the log."""
        found = self.standing.interval
        robust = {"robust": found.value, "robust_low": found.low, "robust_high": found.high}
        gaps = {"gap": self.gap, "black_box_gap": self.standing.black_box_gap}
        return {
            **asdict(self.measured),
            **robust,
            "robust_examples": found.n,
            "robust_thorough": self.standing.long,
            **gaps,
            "at_chance": self.at_chance,
            "measuring": round(self.seconds, 3),
        }


class Validation:
    """Measures on `held`, which nobody trains on."""

    def __init__(self, held: Images, settings: TrainSettings, shape: Shape, ranks: Ranks) -> None:
        device = torch.device(settings.device)
        self._x, self._y, self._ids = held.float().to(device), held.labels.to(device), held.ids.to(device)
        self._settings, self._shape, self._ranks = settings, shape, ranks
        self._plan = plan_for(settings.inner.eps, settings.seed)
        #: How many examples each class has.
        self.labels = held.labels.bincount(minlength=shape.classes).tolist()

    def look(self, network: Trained, goes_on: GoesOn, hard: Callable[[float], bool]) -> Look:
        """PGD-10, FOSC and SGCS on all of them, and the worst case on as many as it takes.

        Args:
            network: in training; left as it is.
            goes_on: whether the worst case is worth more examples: told the accuracy under PGD-10, which examples
                PGD-10 leaves, and what is known of the first.
            hard: whether the few passes are too few for this run, told what they break of what PGD-10 leaves.

        """

        def find(classifier: nn.Module) -> Look:
            began = time.perf_counter()
            examples = (self._x, self._y, self._ids)
            search = search_model(classifier, self._x.device, "auto", self._x[:8])
            measured, after_pgd = measure(classifier, *examples, self._plan, search=search.exact)
            worst = WorstCase(classifier, search, examples, self._plan)
            standing = stand(worst, after_pgd, partial(goes_on, measured.pgd10, after_pgd), hard)
            took, chance = time.perf_counter() - began, at_chance(measured.clean, self.labels)
            return Look(measured, after_pgd, standing, took, chance)

        return self._first(network, find)

    def __len__(self) -> int:
        return len(self._y)

    def under_autoattack(self, classifier: nn.Module, known: Standing, count: int) -> Tensor:
        """(count,) bool on the CPU: those of the first examples that stand under every attack.

        Args:
            classifier: from (n, C, H, W) in [0, 1] to logits; it goes to the examples' device.
            known: what its epoch was chosen by.
            count: of examples.

        """
        examples = self._x[:count], self._y[:count], self._ids[:count]
        classifier = classifier.to(self._x.device)
        search = search_model(classifier, self._x.device, "auto", self._x[:8])
        _, left = measure(classifier, *examples, self._plan, search=search.exact)
        first = known.robust[:count]
        left[: len(first)] &= first
        worst = WorstCase(classifier, search, examples, self._plan)
        for name in AUTOATTACK:
            rows = left.nonzero().squeeze(1)
            left[rows[worst.broken(name, rows, Budget())]] = False
        return left

    def _first(self, network: Trained, find: Callable[[nn.Module], T]) -> T:
        """What the first rank finds of the network's float32 copy, on every rank."""
        found = None
        if self._ranks.first:
            found = find(as_classifier(network, self._settings, self._shape))
        agreed = self._ranks.agree(found)
        assert agreed is not None  # the first rank's
        return agreed
