"""What is done about masking while training: nothing, Algorithm 1 of the paper, or what proves to help.

The automatic healer acts where an epoch became masked (`judging`). The next epoch is then made several times over from
the same draws, untreated and under each treatment (`treatments`), and the one that leaves the most held-out examples
robust is taken: under its treatment for a while, or untreated where none does better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from robaudit.training.settings import TrainSettings
from robaudit.training.treatments import BY_NAME, NOISE, NONE, Treatment, treatments_for
from robaudit.training.watch import Reading

#: Algorithm 1: noise in this many batches.
BATCHES = 10
#: Epochs that a treatment is kept for, the first time; after trials that did not help, epochs without any.
TREATED_EPOCHS, PAUSE_EPOCHS = 3, 4


@dataclass(frozen=True)
class Judged:
    """An epoch as the healer sees it: its reading, and the mean FOSC."""

    reading: Reading
    fosc: float


class Healer(Protocol):
    """Told of every batch and epoch; says how to go on."""

    def treatment(self) -> Treatment:
        """For the next batch."""
        ...

    def on_batch(self) -> None:
        """A batch is done."""
        ...

    def on_epoch(self, judged: Judged) -> None:
        """An epoch is done."""
        ...

    def trials(self) -> tuple[Treatment, ...]:
        """What the next epoch is to be tried under; nothing where it is simply to be made."""
        ...

    def on_trials(self, chosen: Treatment) -> None:
        """Which of them did best."""
        ...

    def give_up(self) -> None:
        """End the treatment under way."""
        ...

    def acceptable(self, judged: Judged) -> bool:
        """Whether an epoch may be the best."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, JSON-ready."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        ...


class NoHealer:
    """Trains on, whatever is seen."""

    def treatment(self) -> Treatment:
        """None."""
        return NONE

    def on_batch(self) -> None:
        """Nothing."""

    def on_epoch(self, judged: Judged) -> None:
        """Nothing."""

    def trials(self) -> tuple[Treatment, ...]:
        """Nothing is tried."""
        return ()

    def on_trials(self, chosen: Treatment) -> None:
        """Nothing."""

    def give_up(self) -> None:
        """Nothing."""

    def acceptable(self, judged: Judged) -> bool:
        """Any epoch."""
        return True

    def state(self) -> dict[str, Any]:
        """The numbers that change."""
        return dict(vars(self))

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        vars(self).update(state)


class PaperHealer(NoHealer):
    """Algorithm 1: a mean FOSC above `threshold` puts noise into the next epoch's first ten batches."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.left = threshold, 0

    def treatment(self) -> Treatment:
        """Noise while batches are left (lines 7 to 10)."""
        return Treatment("noise", noise=NOISE) if self.left else NONE

    def on_batch(self) -> None:
        """One batch fewer (line 9)."""
        self.left = max(0, self.left - 1)

    def on_epoch(self, judged: Judged) -> None:
        """Lines 20 to 22."""
        if judged.fosc > self.threshold:
            self.left = BATCHES

    def acceptable(self, judged: Judged) -> bool:
        """Line 17."""
        return judged.fosc <= self.threshold

    def load(self, state: dict[str, Any]) -> None:
        """The batches that are left; the threshold is a setting."""
        self.left = state["left"]


class AutoHealer(NoHealer):
    """Has the treatments tried where an epoch became masked, and keeps to the best for some epochs.

    Each time that masking comes back the treatment is kept for twice as long; each time that none helps the healer
    rests for twice as long.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self._treatments = treatments_for(settings)
        self.name, self.left, self.kept = "", 0, TREATED_EPOCHS
        self.rest, self.pause, self.wanted = 0, PAUSE_EPOCHS, False

    def treatment(self) -> Treatment:
        """That which did best, as long as it is kept."""
        return BY_NAME[self.name] if self.left else NONE

    def on_epoch(self, judged: Judged) -> None:
        """One epoch fewer; trials where it became masked."""
        self.left, self.rest = max(0, self.left - 1), max(0, self.rest - 1)
        self.wanted = judged.reading.masked and not self.rest

    def trials(self) -> tuple[Treatment, ...]:
        """All that the run's method has, where the last epoch became masked."""
        return self._treatments if self.wanted else ()

    def on_trials(self, chosen: Treatment) -> None:
        """Keep to it; to nothing where nothing did as well."""
        self.wanted = False
        if chosen == NONE:
            self.left, self.rest, self.pause = 0, self.pause + 1, 2 * self.pause
        else:
            self.name, self.left, self.kept = chosen.name, self.kept, 2 * self.kept

    def give_up(self) -> None:
        """End the treatment now."""
        self.left = 0

    def state(self) -> dict[str, Any]:
        """The numbers that change."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def make_healer(settings: TrainSettings) -> Healer:
    """The healer that `settings.heal` names."""
    if settings.heal == "paper":
        return PaperHealer(settings.threshold)
    return AutoHealer(settings) if settings.heal == "auto" else NoHealer()
