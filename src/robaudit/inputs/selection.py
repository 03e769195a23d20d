"""Choosing among architectures and normalisations by clean accuracy on labelled images."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.candidates import Candidate, assemble
from robaudit.inputs.images import Images
from robaudit.inputs.normalisation import Normalisation, Normalise
from robaudit.inputs.variations import variations

#: Structures tried on the first few images.
TRIED = 160
#: Images of each round: all structures, the better ones, the finalists.
ROUNDS = (100, 400, 1000)
#: Seconds one choice may take, roughly; large networks get fewer images and fewer alternatives.
SECONDS = 60.0


@dataclass(frozen=True)
class Choice:
    """A structure with a normalisation, and which of the images it got right.

    Attributes:
        candidate: the structure.
        normalisation: before it.
        right: (n,) bool, on the first n images.

    """

    candidate: Candidate
    normalisation: Normalisation
    right: torch.Tensor

    @property
    def accuracy(self) -> float:
        """Clean accuracy on the images tried."""
        return float(self.right.float().mean())


@dataclass
class Trial:
    """The images that candidates are tried on, and the time left to try them."""

    images: Images
    device: str = "cpu"
    deadline: float = math.inf

    def right(self, network: nn.Module, normalisation: Normalisation, count: int) -> torch.Tensor:
        """(n,) bool: which of the first `count` images a network classifies correctly."""
        network = nn.Sequential(Normalise(normalisation), network).to(self.device).eval()
        found = []
        count = min(count, len(self.images))
        with torch.inference_mode():
            for start in range(0, count, 100):
                rows = slice(start, min(start + 100, count))
                logits = network(self.images.float(rows).to(self.device))
                labels = self.images.labels[rows].to(self.device)
                if logits.ndim != 2 or logits.shape[0] != labels.shape[0]:
                    raise RobauditError(f"output of shape {tuple(logits.shape)}; expected (N, classes)")
                found.append((logits.argmax(1) == labels) & torch.isfinite(logits).all(1))
        return torch.cat(found).cpu()

    def choice(self, candidate: Candidate, normalisation: Normalisation, count: int) -> Choice | None:
        """A candidate tried on so many images; None if it cannot run on them."""
        try:
            return Choice(candidate, normalisation, self.right(assemble(candidate), normalisation, count))
        except (RobauditError, RuntimeError, ValueError):
            return None

    def late(self) -> bool:
        """Whether the time for trying is over."""
        return time.monotonic() > self.deadline


def worse(challenger: Choice, best: Choice) -> bool:
    """Whether `challenger` is significantly worse than `best` on the images both saw (sign test, 2 sigma)."""
    count = min(len(challenger.right), len(best.right))
    mine, theirs = challenger.right[:count], best.right[:count]
    lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
    return lost - won > 2 * math.sqrt(lost + won)


def _ranked(choices: list[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda choice: (-choice.accuracy, choice.candidate.cost))


def _settled(choices: list[Choice]) -> Choice:
    """The likeliest choice: the cheapest structure that is not significantly worse than the best."""
    ranked = _ranked(choices)
    equal = [choice for choice in ranked if not worse(choice, ranked[0])]
    cheapest = min(choice.candidate.cost for choice in equal)
    return next(choice for choice in equal if choice.candidate.cost <= cheapest + 0.35)


def choose(
    candidates: list[Candidate], normalisations: list[Normalisation], images: Images, device: str = "cpu"
) -> list[Choice]:
    """Try candidates under normalisations; the chosen one first, then the others by accuracy.

    Structures are first tried on few images under two normalisations, the better half-dozen on more
    under all, then variations of the best that shapes cannot tell (activation, pooling, order of norm).

    Raises:
        RobauditError: no candidate runs on such images.

    """
    trial = Trial(images, device, time.monotonic() + SECONDS)
    first = []
    for rank, candidate in enumerate(candidates[:TRIED]):
        if rank >= 4 and trial.late():
            break
        tries = [trial.choice(candidate, norm, ROUNDS[0]) for norm in normalisations[:2]]
        first += [choice for choice in tries if choice]
    if not first:
        shape = "x".join(str(size) for size in images.shape)
        raise RobauditError(
            f"{candidates[0].spec}: does not run on images of {shape}; pass the right --dataset"
        )
    finalists = list({choice.candidate.spec: choice.candidate for choice in _ranked(first)}.values())[:6]
    if len(candidates) > 1 and candidates[0] not in finalists:
        finalists.append(candidates[0])
    second = _round(trial, finalists, normalisations, ROUNDS[1])
    best = _settled(second or first)
    improved = _improve(trial, best)
    rivals = [choice for choice in _ranked(second) if choice.candidate.spec != improved.candidate.spec][:3]
    last = [
        improved.normalisation,
        *(norm for norm in normalisations if norm.text != improved.normalisation.text),
    ]
    final = _round(trial, [improved.candidate], last, ROUNDS[2]) or [improved]
    winner = _ranked(final)[0]
    return [winner, *_ranked([c for c in final if c is not winner]), *rivals]


def _round(
    trial: Trial, candidates: list[Candidate], normalisations: list[Normalisation], count: int
) -> list[Choice]:
    done: list[Choice] = []
    for candidate in candidates:
        for norm in normalisations:
            if done and trial.late() and len(done) >= len(normalisations):
                return done
            choice = trial.choice(candidate, norm, count if not trial.late() else min(count, 100))
            if choice:
                done.append(choice)
    return done


def _improve(trial: Trial, best: Choice) -> Choice:
    """Change one thing at a time that shapes cannot tell, as long as it helps significantly."""
    for _ in range(4):
        tried = []
        for spec, cost in variations(best.candidate.spec):
            if trial.late():
                return best
            changed = dataclasses.replace(best.candidate, spec=spec, cost=best.candidate.cost + cost)
            choice = trial.choice(changed, best.normalisation, ROUNDS[1])
            if choice and worse(best, choice):
                tried.append(choice)
        if not tried:
            return best
        best = _ranked(tried)[0]
    return best


def near_chance(accuracy: float, classes: int, count: int) -> bool:
    """Whether an accuracy on `count` images is hardly above guessing among `classes`."""
    chance = 1 / classes
    return accuracy < chance + max(4 * math.sqrt(chance * (1 - chance) / count), 0.1 * (1 - chance))
