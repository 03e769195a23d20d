"""What the kept network is truly worth, measured once at the end of a run.

Epochs are chosen by few passes, and the best of many epochs is also the luckiest of them. So the kept network meets
AutoAttack with the budget of `check` on held-out examples, and where these chose it their luck is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robaudit.inputs import load_classifier
from robaudit.stats import proportion
from robaudit.training.selection import Selection
from robaudit.training.settings import TrainSettings
from robaudit.training.validation import Validation
from robaudit.training.worst_case import CONFIDENCE

#: Without a number from the user: as many examples as cost this part of the run, and at least this many.
PART, LEAST = 20, 200
#: Forward passes of an example that no attack breaks, a backward pass counted as two: Square's 5,000, three for each of
#: the 1,000 steps of APGD, four for each of FAB's 900.
_PASSES = 5000 + 3 * 1000 + 4 * 900


@dataclass(frozen=True)
class Confirmed:
    """AutoAttack on the kept network.

    Attributes:
        left: examples that it leaves.
        examples: it was tried on.
        luck: what their share is too high by on average, for some of them chose the network.
        when_chosen: the robust accuracy that it was chosen by.
        chosen_by: examples that this was of.

    """

    left: int
    examples: int
    luck: float
    when_chosen: float
    chosen_by: int

    def row(self) -> dict[str, Any]:
        """For the metadata, in the place of what the epoch's row says."""
        found = proportion(self.left, self.examples, CONFIDENCE)
        value, low, high = (max(0.0, item - self.luck) for item in (found.value, found.low, found.high))
        return {
            "robust": value,
            "robust_low": low,
            "robust_high": high,
            "robust_examples": self.examples,
            "robust_when_chosen": self.when_chosen,
            "chosen_examples": self.chosen_by,
            "autoattack": found.value,
            "luck": self.luck,
        }


def examples_for(settings: TrainSettings, held: int, trained: int) -> int:
    """How many of the examples held out meet AutoAttack, where this many are trained on."""
    if settings.confirm is not None:
        return min(held, settings.confirm)
    # A clean pass, the inner attack's steps, and two passes forward and back.
    run = settings.epochs * trained * (1 + 3 * settings.inner.steps + 6)
    return min(held, max(LEAST, run // (PART * _PASSES)))


def confirm(validation: Validation, path: Path, selection: Selection, count: int, seed: int) -> Confirmed:
    """Measure the weights at `path`, which were selected, on `count` examples."""
    known = selection.standing
    assert known is not None  # something was selected
    left = validation.under_autoattack(load_classifier(str(path), force=True), known, count)
    chose = min(count, known.total) / count
    return Confirmed(
        int(left.sum()), count, chose * selection.luck(seed), known.interval.value, known.interval.n
    )
