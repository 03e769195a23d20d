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


def robust_of(found: list[Trial]) -> list[float]:
    """The robust accuracy of each, of as many examples and by as many passes for all of them."""
    long = all(item.look.standing.long for item in found)
    left = [item.look.standing.robust if long else item.look.standing.few for item in found]
    count = min(map(len, left))
    return [float(item[:count].double().mean()) for item in left]


def best_of(found: list[Trial]) -> Trial:
    """The trial with the most examples robust; of equals the first, which is that without treatment if it is there.

    A network that guesses is no better than one that does not, however many of its constant answers are right.
    """
    worth = [(not item.look.at_chance, robust) for item, robust in zip(found, robust_of(found), strict=True)]
    return found[worth.index(max(worth))]


def untreated(found: list[Trial]) -> Standing | None:
    """What is robust without treatment; None where the loss was not finite, or the network only guesses."""
    return next(
        (item.look.standing for item in found if item.treatment == NONE and not item.look.at_chance), None
    )


def summary(best: Trial, found: list[Trial]) -> str:
    """What was tried and what the run continues from."""
    accuracies = ", ".join(
        f"{item.treatment.name or 'untreated'} {100 * robust:.1f}{' by guessing' * item.look.at_chance}"
        for item, robust in zip(found, robust_of(found), strict=True)
    )
    if best.treatment == NONE:
        return f"no treatment does better than none ({accuracies} % robust); the run is left alone, the best is kept"
    return f"continues with {best.treatment.name} ({accuracies} % robust)"


def logged(best: Trial, found: list[Trial]) -> dict[str, Any]:
    """For the epoch's row."""
    names = [item.treatment.name or "untreated" for item in found]
    tried = dict(zip(names, robust_of(found), strict=True))
    return {"treatment": best.treatment.name, "rolled_back": best.treatment.back, "tried": tried}
