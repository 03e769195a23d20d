"""How a run reports its progress; the command line draws it, a library user may pass their own."""

from __future__ import annotations

from typing import Any, Protocol

from robaudit.training.stepping import StepResult


class TrainProgress(Protocol):
    """Told of every step and epoch, and of what is worth a line of text."""

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """Epoch `epoch` of `epochs` (from 1) is about to begin, or to be resumed after `done` of its `steps` steps."""
        ...

    def step(self, result: StepResult) -> None:
        """A step is done."""
        ...

    def end_epoch(self, row: dict[str, Any]) -> None:
        """An epoch's line of the log."""
        ...

    def note(self, text: str) -> None:
        """Something happened: masking, healing, a resumed run."""
        ...


class Silent:
    """Says nothing."""

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """Nothing."""

    def step(self, result: StepResult) -> None:
        """Nothing."""

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
