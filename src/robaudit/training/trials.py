"""One epoch made under several treatments, and which of them the run takes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from robaudit.training.state import TrainingState
from robaudit.training.treatments import NONE, Treatment
from robaudit.training.validation import Look
from robaudit.training.worst_case import Standing


@dataclass(frozen=True)
class Trial:
    """An epoch under one treatment: what it is worth, and what the run continues from."""

    treatment: Treatment
    look: Look
    state: dict[str, Any]

    @property
    def robust(self) -> float:
        """Its robust accuracy, on all examples."""
        return self.look.standing.interval.value


def try_out(
    treatments: tuple[Treatment, ...],
    training: TrainingState,
    healthy: dict[str, Any],
    make: Callable[[Treatment], Look | None],
) -> list[Trial]:
    """Make an epoch under each treatment, from the same weights and draws; those that could be made.

    Args:
        treatments: to try.
        training: at the weights that an untreated epoch begins with; left at those of the last trial.
        healthy: what a treatment that goes back begins with.
        make: makes the epoch.

    """
    masked, before = training.taken(), deepcopy(training.tally)
    found = []
    for treatment in treatments:
        training.put(healthy if treatment.back else masked)
        training.tally = deepcopy(before)
        training.next_epoch()
        look = make(treatment)
        if look is not None:
            found.append(Trial(treatment, look, training.state()))
    return found


def best_of(found: list[Trial]) -> Trial:
    """The trial with the most examples robust; of equals the first, which is that without treatment if it is there."""
    best = found[0]
    for other in found[1:]:
        plus, minus = other.look.standing.lead(best.look.standing)
        if plus > minus:
            best = other
    return best


def untreated(found: list[Trial]) -> Standing | None:
    """What is robust without treatment; None where the loss was not finite."""
    return next((item.look.standing for item in found if item.treatment == NONE), None)


def summary(best: Trial, found: list[Trial]) -> str:
    """What was tried and what the run continues from."""
    accuracies = ", ".join(f"{item.treatment.name or 'untreated'} {100 * item.robust:.1f}" for item in found)
    if best.treatment == NONE:
        return f"no treatment does better than none ({accuracies} % robust); the run is left alone, the best is kept"
    return f"continues with {best.treatment.name} ({accuracies} % robust)"


def logged(best: Trial, found: list[Trial]) -> dict[str, Any]:
    """For the epoch's row."""
    tried = {item.treatment.name or "untreated": item.robust for item in found}
    return {"treatment": best.treatment.name, "rolled_back": best.treatment.back, "tried": tried}
