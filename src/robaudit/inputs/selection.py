"""Choosing among architectures and normalisations by clean accuracy on labelled images."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.candidates import Candidate, assemble
from robaudit.inputs.images import Images
from robaudit.inputs.normalisation import Normalisation, Normalise
from robaudit.inputs.variations import combinations, variations

#: Structures tried on the first few images.
TRIED = 160
#: Images of each round: all structures, the better ones, the finalists.
ROUNDS = (100, 600, 2000)
#: Standard deviations of accuracy that one unit of a candidate's cost is worth.
UNUSUAL = 0.7
#: Clean accuracy above which no other activation is tried on structures that are not the best.
CLEAR = 0.95
#: Deviations by which one of many variations must be better to be believed.
SURE = 3.5
#: Seconds that trying takes, roughly; large networks get fewer images and fewer alternatives.
SECONDS = 20.0


@dataclass(frozen=True, eq=False)
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
    """The images that candidates are tried on, how many in each round, and the time spent."""

    images: Images
    device: str = "cpu"
    start: float = field(default_factory=time.monotonic)
    counts: tuple[int, int, int] = ROUNDS

    def pace(self, candidates: list[Candidate], normalisation: Normalisation) -> None:
        """Set the images of each round by the speed of the first candidate that runs."""
        for candidate in candidates[:8]:
            begin = time.monotonic()
            if self.choice(candidate, normalisation, 32):
                rate = 32 / max(time.monotonic() - begin, 1e-6)
                shares = (0.01, 0.04, 0.1)
                self.counts = tuple(  # type: ignore[assignment]
                    int(min(most, max(least, rate * SECONDS * share)))
                    for most, least, share in zip(ROUNDS, (32, 64, 200), shares, strict=True)
                )
                return

    def right(self, network: nn.Module, normalisation: Normalisation, count: int) -> torch.Tensor:
        """(n,) bool: which of the first `count` images a network classifies correctly."""
        network = nn.Sequential(Normalise(normalisation), network).to(self.device).eval()
        found = []
        count = min(count, len(self.images))
        with torch.no_grad():
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

    def spent(self) -> float:
        """The part of `SECONDS` that is over."""
        return (time.monotonic() - self.start) / SECONDS


def deviations(challenger: Choice, best: Choice) -> float:
    """By how many standard deviations `challenger` is worse than `best` on the images both saw (sign test)."""
    count = min(len(challenger.right), len(best.right))
    mine, theirs = challenger.right[:count], best.right[:count]
    lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
    return (lost - won) / math.sqrt(max(lost + won, 1))


def worse(challenger: Choice, best: Choice, sigmas: float = 2.0) -> bool:
    """Whether `challenger` is significantly worse than `best`."""
    return deviations(challenger, best) > sigmas


def _ranked(choices: list[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda choice: (-choice.accuracy, choice.candidate.cost))


def _settled(choices: list[Choice]) -> Choice:
    """The likeliest choice: accuracy in standard deviations against how unusual the structure is."""
    best = _ranked(choices)[0]
    return min(choices, key=lambda c: deviations(c, best) + min(SURE, UNUSUAL * c.candidate.cost))


def _first_level(choices: list[Choice]) -> Choice:
    """Of choices in order of likelihood, the first that is not clearly worse than the best."""
    best = _ranked(choices)[0]
    return next(choice for choice in choices if not worse(choice, best, 1.0))


def choose(
    candidates: list[Candidate], normalisations: list[Normalisation], images: Images, device: str = "cpu"
) -> list[Choice]:
    """Try candidates under normalisations; the chosen one first, then the rivals by accuracy.

    Structures are first tried on few images under the two likeliest normalisations; the better ones on
    more; then the best under every normalisation; then its variations that shapes cannot tell
    (activation, pooling, order of norm); last the normalisations that are still level on most images.

    Raises:
        RobauditError: no candidate runs on such images.

    """
    trial = Trial(images, device)
    trial.pace(candidates, normalisations[0])
    first = _first_round(trial, candidates, normalisations)
    if not first:
        shape = "x".join(str(size) for size in images.shape)
        raise RobauditError(
            f"{candidates[0].spec}: does not run on images of {shape}; pass the right --dataset"
        )
    if len(candidates) == 1 and len(normalisations) == 1:
        return [trial.choice(candidates[0], normalisations[0], trial.counts[2]) or first[0]]
    finalists = _finalists(first)
    second = _round(trial, finalists, trial.counts[1], 0.5)
    best = _settled(second)
    compared = _round(trial, [(best.candidate, norm) for norm in normalisations], trial.counts[1], 0.6)
    best = _first_level(compared)
    close = [(choice.candidate, best.normalisation) for choice in _ranked(second)]
    others = _round(
        trial, [pair for pair in dict.fromkeys(close) if pair[0] is not best.candidate], trial.counts[1], 0.8
    )
    best = _settled([best, *others])
    tied = [(choice.candidate, best.normalisation) for choice in others if deviations(choice, best) < 1]
    if tied and trial.spent() < 0.7:  # too close to call on so few images
        pairs = [(best.candidate, best.normalisation), *tied[:3]]
        best = _settled(_round(trial, pairs, trial.counts[2], 0.8) or [best])
    best = _improve(trial, best)
    level = [choice.normalisation for choice in compared if not worse(choice, best)] or [best.normalisation]
    last = _round(trial, [(best.candidate, norm) for norm in level], trial.counts[2], 1.0) or [best]
    winner = _first_level(last)
    others = [
        choice for choice in _ranked([*others, *second]) if choice.candidate.spec != winner.candidate.spec
    ]
    norms = [choice for choice in _ranked([*last, *compared]) if choice.normalisation != winner.normalisation]
    return [winner, *[dataclasses.replace(c, candidate=winner.candidate) for c in norms], *others[:3]]


def _first_round(
    trial: Trial, candidates: list[Candidate], normalisations: list[Normalisation]
) -> list[Choice]:
    """Many structures on few images; the unusual scales too where the usual ones see nothing."""
    found: list[Choice] = []
    for batch in (normalisations[:2], normalisations[2:]):
        pairs = [(candidate, norm) for candidate in candidates[:TRIED] for norm in batch]
        if found and not near_chance(_ranked(found)[0].accuracy, trial.images.classes, len(found[0].right)):
            break
        found += _round(trial, pairs, trial.counts[0], 0.25 if not found else 0.3)
    if found and _ranked(found)[0].accuracy < CLEAR:
        changed = [
            (dataclasses.replace(candidate, spec=spec, cost=candidate.cost + cost), norm)
            for candidate in candidates[:3]
            for spec, cost in combinations(candidate.spec)
            for norm in normalisations[:3]
        ]
        found += _round(trial, changed, trial.counts[0], 0.4)
    return found


def _finalists(first: list[Choice]) -> list[tuple[Candidate, Normalisation]]:
    """The six best structures with their better normalisation, and the cheapest."""
    best: dict[str, Choice] = {}
    for choice in _ranked(first):
        best.setdefault(choice.candidate.spec, choice)
    chosen = list(best.values())[:6]
    cheapest = min(best.values(), key=lambda choice: choice.candidate.cost)
    return [(c.candidate, c.normalisation) for c in dict.fromkeys([*chosen, cheapest])]


def _round(
    trial: Trial, pairs: list[tuple[Candidate, Normalisation]], count: int, share: float
) -> list[Choice]:
    """Every pair on so many images, the first few always, the others while this round has time."""
    done: list[Choice] = []
    for rank, (candidate, norm) in enumerate(pairs):
        if done and rank >= 6 and trial.spent() > share:
            break
        choice = trial.choice(candidate, norm, count)
        if choice:
            done.append(choice)
    return done


def _improve(trial: Trial, best: Choice) -> Choice:
    """Change one thing at a time that shapes cannot tell, as long as it helps significantly."""
    for _ in range(4):
        better = []
        for spec, cost in variations(best.candidate.spec):
            if trial.spent() > 0.9:
                break
            changed = dataclasses.replace(best.candidate, spec=spec, cost=best.candidate.cost + cost)
            glance = trial.choice(changed, best.normalisation, trial.counts[0])
            if glance is None or worse(glance, best):
                continue
            choice = trial.choice(changed, best.normalisation, trial.counts[1])
            if choice and worse(best, choice, SURE):
                better.append(choice)
        if not better:
            return best
        best = _ranked(better)[0]
    return best


def near_chance(accuracy: float, classes: int, count: int) -> bool:
    """Whether an accuracy on `count` images is hardly above guessing among `classes`."""
    chance = 1 / classes
    return accuracy < chance + max(4 * math.sqrt(chance * (1 - chance) / count), 0.1 * (1 - chance))
