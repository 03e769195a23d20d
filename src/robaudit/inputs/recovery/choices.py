"""A structure with a normalisation and what it answered, and how two of them compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.likelihood import standard_errors

#: Standard deviations of accuracy that one unit of a candidate's cost is worth.
UNUSUAL = 0.7
#: Deviations behind which even the oddest candidate does not start a race.
HANDICAP = 2.5


@dataclass(frozen=True, eq=False)
class Choice:
    """A structure with a normalisation, and which of the images it got right.

    Attributes:
        candidate: the structure.
        normalisation: before it.
        right: (n,) bool, on the first n images.
        logits: (n, classes) on the same images, where they were kept.
        losses: (m,) cross-entropy on the first m images as `calibrated_losses` gives it, where it was asked for.

    """

    candidate: Candidate
    normalisation: Normalisation
    right: torch.Tensor
    logits: torch.Tensor | None = None
    losses: torch.Tensor | None = None

    @property
    def accuracy(self) -> float:
        """Clean accuracy on the images tried."""
        return float(self.right.float().mean())


def same_answers(choice: Choice, other: Choice, count: int) -> bool:
    """Whether two choices differ by rounding only on the first images."""
    assert choice.logits is not None and other.logits is not None
    mine, theirs = choice.logits[:count], other.logits[:count]
    return mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def deviations(challenger: Choice, best: Choice) -> float:
    """By how many standard deviations `challenger` is worse than `best` on the images both saw (sign test)."""
    count = min(len(challenger.right), len(best.right))
    mine, theirs = challenger.right[:count], best.right[:count]
    lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
    return (lost - won) / math.sqrt(max(lost + won, 1))


def less_likely(challenger: Choice, best: Choice) -> float:
    """By how many standard errors the challenger's mean loss is above the best's, on the images both saw."""
    assert challenger.losses is not None and best.losses is not None
    return standard_errors(challenger.losses, best.losses)


def worse(challenger: Choice, best: Choice, sigmas: float = 2.0) -> bool:
    """Whether `challenger` is significantly worse than `best`."""
    return deviations(challenger, best) > sigmas


def odds(choice: Choice, best: Choice) -> float:
    """Deviations behind the best, and how unusual the structure is, in the same unit."""
    return deviations(choice, best) + min(HANDICAP, UNUSUAL * choice.candidate.cost)


def ranked(choices: list[Choice]) -> list[Choice]:
    """By accuracy, then by cost."""
    return sorted(choices, key=lambda choice: (-choice.accuracy, choice.candidate.cost))


def near_chance(accuracy: float, classes: int, count: int) -> bool:
    """Whether an accuracy on `count` images is hardly above guessing among `classes`."""
    chance = 1 / classes
    return accuracy < chance + max(4 * math.sqrt(chance * (1 - chance) / count), 0.1 * (1 - chance))


def mean_loss(choice: Choice) -> float:
    """The mean of a choice's calibrated losses, in nats; they must be known."""
    assert choice.losses is not None
    return float(choice.losses.mean())
