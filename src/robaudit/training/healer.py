"""What is done about masking while training: nothing, Algorithm 1 of the paper, or a healer that ends no epoch masked.

The automatic healer watches every batch through the inner attack's own trajectory, at no cost, and every epoch
through the validation examples. An alarm of a batch gives the next ten batches noise, as Algorithm 1 does but at once.
An epoch that ends masked is rolled back to the last healthy weights, and what follows gets a larger dose: noise in ten
batches, then in all of them, then more of it. Healthy epochs make the dose smaller again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from robaudit.training.settings import TrainSettings
from robaudit.training.watch import Reading, Watch

#: Algorithm 1: noise of this standard deviation in this many batches.
DOSE, BATCHES = 0.1, 10
#: By level, the noise of every batch. At level 1 only ten batches get any, as in Algorithm 1; docs/training.md has the
#: runs that show that little noise in few batches delays masking, and that enough of it in all batches ends it.
DOSES = (0.0, 0.0, 0.1, 0.2, 0.3)
#: Healthy epochs that give a level back, and batches between two alarms.
PATIENCE, PAUSE = 3, 20
#: Batch readings are smoothed over about this many; this many of them make a past.
SMOOTHING, PAST = 10, 40


@dataclass(frozen=True)
class Treatment:
    """StepSpec the next batch is to be trained on: the standard deviation of the noise added to its images."""

    noise: float = 0.0


@dataclass(frozen=True)
class Judged:
    """An epoch as the healer sees it: its watch's reading, and the mean FOSC."""

    reading: Reading
    fosc: float


class Healer(Protocol):
    """Told of every batch and epoch; says how to go on."""

    def treatment(self) -> Treatment:
        """For the next batch."""
        ...

    def on_batch(self, fosc_normalised: float, sgcs: float) -> str:
        """A batch's means over the inner attack's trajectories; why treatment begins, if it does now."""
        ...

    def on_epoch(self, judged: Judged) -> bool:
        """Whether to go back to the last healthy weights."""
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
    """Trains on, whatever is seen; the best epoch is the one with the highest PGD-10 accuracy, as is usual."""

    def treatment(self) -> Treatment:
        """None."""
        return Treatment()

    def on_batch(self, fosc_normalised: float, sgcs: float) -> str:
        """Nothing begins."""
        return ""

    def on_epoch(self, judged: Judged) -> bool:
        """Never back."""
        return False

    def acceptable(self, judged: Judged) -> bool:
        """Any epoch."""
        return True

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing."""


class PaperHealer(NoHealer):
    """Algorithm 1: a mean FOSC above `threshold` puts noise into the next epoch's first ten batches."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.left = threshold, 0

    def treatment(self) -> Treatment:
        """Noise while batches are left (lines 7 to 10)."""
        return Treatment(noise=DOSE if self.left else 0.0)

    def on_batch(self, fosc_normalised: float, sgcs: float) -> str:
        """One batch fewer (line 9)."""
        self.left = max(0, self.left - 1)
        return ""

    def on_epoch(self, judged: Judged) -> bool:
        """Lines 20 to 22."""
        if judged.fosc > self.threshold:
            self.left = BATCHES
        return False

    def acceptable(self, judged: Judged) -> bool:
        """Line 17."""
        return judged.fosc <= self.threshold

    def state(self) -> dict[str, Any]:
        """The batches left."""
        return {"left": self.left}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self.left = state["left"]


class AutoHealer(NoHealer):
    """Watches batches and epochs against the run's own healthy past.

    Args:
        warm_up: batches at the beginning that are not judged; an epoch's.

    """

    def __init__(self, warm_up: int) -> None:
        self.watch = Watch(memory=5 * PAST, past=PAST, warm_up=warm_up, absolute=False)
        self.mean: tuple[float, float] | None = None
        self.left = self.pause = self.level = self.healthy = 0

    def treatment(self) -> Treatment:
        """Noise while batches are left, and in every batch from level 2 on."""
        return Treatment(max(DOSES[self.level], DOSE if self.left else 0.0))

    def on_batch(self, fosc_normalised: float, sgcs: float) -> str:
        """Begin treatment where the smoothed readings leave the healthy past; one treated batch fewer otherwise."""
        if self.left or self.pause:
            # Under treatment the images are not the run's own; afterwards it is given time to settle.
            self.left, self.pause = (self.left - 1, self.pause) if self.left else (0, self.pause - 1)
            self.mean = None
            return ""
        share = 1 / SMOOTHING
        old = self.mean or (fosc_normalised, sgcs)
        self.mean = (old[0] + share * (fosc_normalised - old[0]), old[1] + share * (sgcs - old[1]))
        if self.level >= 2:
            return ""  # noise in every batch: its trajectories are not comparable
        reading = self.watch.observe(*self.mean)
        if reading.masked:
            self.left, self.pause = BATCHES, PAUSE
        return reading.reason

    def on_epoch(self, judged: Judged) -> bool:
        """Back from a masked epoch, with a larger dose afterwards; after healthy ones a smaller."""
        if judged.reading.masked:
            self.level, self.healthy = min(self.level + 1, len(DOSES) - 1), 0
            self.left, self.pause = BATCHES, PAUSE
            return True
        self.healthy += 1
        if self.healthy >= PATIENCE and self.level:
            self.level, self.healthy = self.level - 1, 0
        return False

    def acceptable(self, judged: Judged) -> bool:
        """Any epoch that is not masked."""
        return not judged.reading.masked

    def state(self) -> dict[str, Any]:
        """Counters and the past."""
        numbers = {name: getattr(self, name) for name in ("left", "pause", "level", "healthy")}
        return numbers | {"mean": list(self.mean) if self.mean else None, "watch": self.watch.state()}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name in ("left", "pause", "level", "healthy"):
            setattr(self, name, state[name])
        self.mean = (state["mean"][0], state["mean"][1]) if state["mean"] else None
        self.watch.load(state["watch"])


def make_healer(settings: TrainSettings, steps: int) -> Healer:
    """The healer that `settings.heal` names, for epochs of `steps` steps."""
    if settings.heal == "paper":
        return PaperHealer(settings.threshold)
    return AutoHealer(max(steps, PAST)) if settings.heal == "auto" else NoHealer()
