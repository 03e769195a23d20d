"""What a run tells its user besides numbers, each once: few examples, chance, a weak measure, a rugged surface."""

from __future__ import annotations

import math
from typing import Any

from robaudit.stats import at_chance

#: Held-out examples below which an interval of robust accuracy is wider than 20 points either way.
FEW_EXAMPLES = 100
#: Held-out examples below which nothing is said of chance.
FEWEST = 20
#: Epochs in a row that are not an accident.
EPOCHS_IN_A_ROW = 3
#: `EPOCHS_IN_A_ROW` are enough if they are among this many: weights that learn nothing may guess a little better once.
RECENT_EPOCHS = 4
#: Steps below which a network may not have learnt anything yet, and a rate that teaches it hardly anything.
MANY_STEPS, SMALL_RATE = 60, 1e-4
#: What numbers were called that runs of earlier versions have kept.
_FORMER = {"said_chance": "warned_chance", "said_weak": "warned_weak"}


def in_percent(row: dict[str, Any]) -> str:
    """A network's accuracies in a few words."""
    return ", ".join(
        f"{words} {100 * row[name]:.1f} %"
        for name, words in (("clean", "clean"), ("pgd10", "PGD-10"), ("robust", "robust"))
    )


class Remarks:
    """Decides what is worth a line.

    Args:
        labels: how many of the held-out examples are of each class.
        lr: the run's highest rate.
        steps: of an epoch.
        confirmed: held-out examples that the kept network will meet AutoAttack on; 0 for none.

    """

    def __init__(
        self, labels: list[int], *, lr: float = 0.1, steps: int = MANY_STEPS, confirmed: int = 0
    ) -> None:
        self._labels, self._lr, self._steps, self._confirmed = labels, lr, steps, confirmed
        self.chance: list[bool] = []
        self.weak, self.rugged = 0, 0
        self.warned_chance, self.warned_weak, self.warned_rugged = False, False, False

    def at_start(self) -> list[str]:
        """Before the first epoch."""
        count, present = sum(self._labels), sum(item > 0 for item in self._labels)
        messages = []
        if count < FEW_EXAMPLES:
            wide = 100 / math.sqrt(count)
            held = "one example is" if count == 1 else f"{count} examples are"
            messages.append(
                f"only {held} held out: robust accuracy is known to about {min(wide, 100):.0f} points "
                "either way, and the best epoch is chosen by little more than luck; raise --validation"
            )
        elif 0 < self._confirmed < FEW_EXAMPLES:
            messages.append(
                f"--confirm {self._confirmed}: of so few examples what the kept network is worth is known to about "
                f"{min(100 / math.sqrt(self._confirmed), 100):.0f} points either way"
            )
        if present < 2:
            messages.append("the held-out examples are all of one class: their accuracies mean nothing")
        return messages

    def after(self, row: dict[str, Any]) -> list[str]:
        """After an epoch with this row of the log."""
        return [text for text in (self._at_chance(row), self._weak(row), self._rugged(row)) if text]

    def _at_chance(self, row: dict[str, Any]) -> str:
        guess = max(self._labels) / sum(self._labels)
        if sum(self._labels) < FEWEST or sum(item > 0 for item in self._labels) < 2:
            return ""  # nothing can be told from so few
        self.chance = [*self.chance, at_chance(row["clean"], self._labels)][-RECENT_EPOCHS:]
        if sum(self.chance) < EPOCHS_IN_A_ROW or self.warned_chance:
            return ""
        self.warned_chance = True
        found = (
            f"{sum(self.chance)} of {len(self.chance)} epochs at chance (clean {100 * row['clean']:.1f} %, "
            f"guessing gives {100 * guess:.1f} %)"
        )
        if (made := row["epoch"] * self._steps) < MANY_STEPS:
            return f"{found}, after {made} steps only: train for more epochs, or with a smaller --batch-size"
        found += f": the network learns nothing; stop, and train with a {{}} --lr (now {self._lr:g})"
        return (
            found.format("larger")
            if self._lr < SMALL_RATE
            else f"{found.format('smaller')} or a smaller --eps"
        )

    def _weak(self, row: dict[str, Any]) -> str:
        self.weak = self.weak + 1 if row["weak"] else 0
        if self.weak < EPOCHS_IN_A_ROW or self.warned_weak:
            return ""
        self.warned_weak = True
        return (
            f"epoch {row['epoch']}: PGD-10 leaves {100 * row['gap']:.1f} points more than the worst case, where FOSC, "
            "SGCS and the gaps did not all change at once: it is too weak a measure for this network at this --eps; "
            "go by `robust`"
        )

    def _rugged(self, row: dict[str, Any]) -> str:
        self.rugged = self.rugged + 1 if row["rugged"] else 0
        if self.rugged < EPOCHS_IN_A_ROW or self.warned_rugged or self.warned_weak:
            return ""
        self.warned_rugged = True
        return (
            f"epoch {row['epoch']}: the loss surface is rugged ({row['reason']}), yet PGD-10 leaves only "
            f"{100 * row['gap']:.1f} points more than the worst case: nothing is overestimated at this --eps so far, "
            "and nothing is treated; it may be at a smaller one, where `check` shows it"
        )

    def started_again(self) -> None:
        """The run has gone back to what it began with, so what it was at before says nothing any more."""
        self.chance = []

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def completed(self, state: Any) -> Any:
        """What an earlier version's `state` gave, as this one's: what it could not have said has not been said."""
        if not isinstance(state, dict):
            return state
        return self.state() | {_FORMER.get(name, name): value for name, value in state.items()}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        vars(self).update(state)
