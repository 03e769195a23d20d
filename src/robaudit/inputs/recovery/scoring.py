"""The one currency of every choice: what images say of a guess, in standard errors of loss, and its price beforehand.

The loss of an answer is its cross-entropy with the logits' scale made comparable first. A guess is doubted by how many
standard errors its mean loss is above the best's, and by its price: how unusual structure and normalisation are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F

from robaudit.inputs.networks.families import activation
from robaudit.inputs.networks.family import Plan
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.recovery.candidates import Candidate

#: Standard errors that a unit of price is worth.
PRICE_WORTH = 0.7
#: Logits are calibrated by a power of this, up to the coolest of overlarge ones and the hottest of too small ones.
STEP, COOLEST, HOTTEST = 1.5, 24, -12
#: Logits so few that trying every power at once is quicker than one after the other.
AT_ONCE = 1000
#: The loss of an answer that is not finite; standard errors that each is worth; the most that one counts in a gap.
NOT_FINITE_LOSS, FAILURE_ERRORS, LARGEST_LOSS = 1e6, 3.5, 20.0
#: Nats that an error costs beside its loss.
WRONG_NATS = 1.0
#: The share of a loss that may be systematic error of the comparison, as one standard error: 3.5 of them are 2 %.
SYSTEMATIC = 0.02 / 3.5
#: The same between two activations, 3.5 of them being 10 %: a network that is masked or overconfident is a little less
#: wrong with a softer activation than it was trained with. Not where accuracy differs by that many deviations too.
SYSTEMATIC_ACTIVATION, SHOWN_BY_ACCURACY = 0.1 / 3.5, 2.0
#: The share of the way from chance to perfection above which a guess is right far more often than chance.
SEES_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Choice:
    """A structure with a normalisation, and what it answered on the first n images.

    Attributes:
        candidate: the structure.
        normalisation: before it.
        logits: (n, classes).
        labels: (n,) the right answers.
        price: how unusual structure and normalisation are together.

    """

    candidate: Candidate
    normalisation: Normalisation
    logits: torch.Tensor
    labels: torch.Tensor
    price: float
    _losses: dict[tuple[int, bool], torch.Tensor] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def guess(self) -> tuple[Candidate, Normalisation]:
        """What is tried."""
        return self.candidate, self.normalisation

    @property
    def key(self) -> tuple[Plan, Normalisation]:
        """By what a guess is known again."""
        return self.candidate.plan, self.normalisation

    @cached_property
    def right(self) -> torch.Tensor:
        """(n,) bool, which images it is right on."""
        return (self.logits.argmax(1) == self.labels) & torch.isfinite(self.logits).all(1)

    @property
    def accuracy(self) -> float:
        """Clean accuracy on the images tried."""
        return float(self.right.float().mean())

    def losses(self, count: int, *, free: bool) -> torch.Tensor:
        """(count,) calibrated losses on the first images, an error counting `WRONG_NATS` more."""
        key = count, free
        if key not in self._losses:
            losses = calibrated_losses(self.logits[:count], self.labels[:count], free=free)
            self._losses[key] = losses + WRONG_NATS * ~self.right[:count]
        return self._losses[key]

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats, overlarge logits made smaller."""
        return float(calibrated_losses(self.logits, self.labels, free=False).mean())

    @property
    def mean_loss(self) -> float:
        """The mean of the calibrated losses on the images tried, in nats."""
        return float(self.losses(len(self), free=True).mean())


def calibrated_losses(logits: torch.Tensor, labels: torch.Tensor, *, free: bool) -> torch.Tensor:
    """(n,) cross-entropy, the logits divided by the number that makes its mean least.

    A network with a wrong part, or behind a wrong normalisation, loses certainty long before it loses accuracy. Between
    structures the scale of the logits is `free`. Between normalisations it tells, as images that are too small make
    small logits; only overlarge ones (distilled, overconfident) are made smaller.
    """
    if logits.numel() <= AT_ONCE:
        losses = _divided(logits, labels, range(HOTTEST + 1 if free else 0, COOLEST))
        return losses[int(losses.double().mean(1).argmin())]
    best = _divided(logits, labels, [0])[0]
    for powers in (range(1, COOLEST), range(-1, HOTTEST, -1) if free else ()):
        for power in powers:  # the mean has one valley, since it is convex in the inverse of the divisor
            losses = _divided(logits, labels, [power])[0]
            if losses.double().mean() > best.double().mean():
                break
            best = losses
    return best


def _divided(logits: torch.Tensor, labels: torch.Tensor, powers: Sequence[int]) -> torch.Tensor:
    """(len(powers), n) cross-entropy of logits divided by `STEP` to each power."""
    known = labels < logits.shape[1]  # a network of fewer classes has no answer to the others
    inside = torch.where(known, labels, 0).repeat(len(powers))
    scaled = logits / torch.tensor([STEP**power for power in powers])[:, None, None]
    losses = F.cross_entropy(scaled.flatten(0, 1), inside, reduction="none").nan_to_num(
        NOT_FINITE_LOSS, NOT_FINITE_LOSS
    )
    return torch.where(known, losses.unflatten(0, (len(powers), -1)), NOT_FINITE_LOSS).clamp(
        max=NOT_FINITE_LOSS
    )


def standard_errors(one: torch.Tensor, other: torch.Tensor) -> float:
    """By how many standard errors the mean of paired losses `one` (n,) is above that of `other` (m,)."""
    count = min(len(one), len(other))
    if count < 2:
        return 0.0
    difference = (one[:count] - other[:count]).double()
    mean, error = float(difference.mean()), float(difference.std()) / math.sqrt(count)
    return mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0


def loss_gap(one: Choice, other: Choice) -> float:
    """By how many standard errors the mean loss of `one` is above that of `other`, on the images both saw.

    Second moments are taken about 0, so that n images give at most the root of n: a few never prove much.
    """
    return _gap(one, other, free=one.normalisation == other.normalisation)


def shape_gap(one: Choice, other: Choice) -> float:
    """The same with the logits' scale free, of two normalisations too: what is not a matter of how sure answers are."""
    return _gap(one, other, free=True)


def _gap(one: Choice, other: Choice, *, free: bool) -> float:
    count = min(len(one), len(other))
    mine, theirs = (c.losses(count, free=free).clamp(max=LARGEST_LOSS).double() for c in (one, other))
    difference = mine - theirs
    softer = activation(one.candidate.plan) != activation(other.candidate.plan)
    share = SYSTEMATIC
    if softer and abs(accuracy_gap(one, other)) <= SHOWN_BY_ACCURACY:
        share = SYSTEMATIC_ACTIVATION
    systematic = share * float(torch.minimum(mine.sum(), theirs.sum()))
    error = math.hypot(float(difference.square().sum()) ** 0.5, systematic)
    return float(difference.sum()) / error if error > 0 else 0.0


def accuracy_gap(one: Choice, other: Choice) -> float:
    """By how many standard deviations `one` is less accurate on the images both saw (sign test)."""
    count = min(len(one), len(other))
    mine, theirs = one.right[:count], other.right[:count]
    lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
    return (lost - won) / math.sqrt(max(lost + won, 1))


def doubt(choice: Choice, best: Choice, evidence: float = 1.0) -> float:
    """What speaks against a choice, in standard errors: its loss beside the best's, its failures, its price.

    Args:
        choice: any.
        best: the one of the least loss.
        evidence: the share of all images seen so far; a price is worth as much less as they prove less.

    """
    failures = int((choice.losses(len(choice), free=True) >= NOT_FINITE_LOSS).sum())
    price = PRICE_WORTH * choice.price * math.sqrt(evidence)
    return loss_gap(choice, best) + FAILURE_ERRORS * failures + price


def least_doubted(choices: Iterable[Choice], evidence: float = 1.0) -> list[tuple[float, Choice]]:
    """(doubt, choice) beside the one of the least loss, the least doubted first."""
    found = list(choices)
    if not found:
        return []
    best = min(found, key=lambda c: c.mean_loss)
    return sorted(((doubt(c, best, evidence), c) for c in found), key=lambda pair: pair[0])


def preferred(choice: Choice, rival: Choice) -> bool:
    """Whether a choice is less doubted than its rival, the two alone compared."""
    return loss_gap(rival, choice) > PRICE_WORTH * (choice.price - rival.price)


def sees(choice: Choice, classes: int) -> bool:
    """Whether a choice is right far more often than chance."""
    return choice.accuracy > 1 / classes + SEES_SHARE * (1 - 1 / classes)


def same_answers(choice: Choice, other: Choice) -> bool:
    """Whether two choices differ by rounding only on the images both saw."""
    count = min(len(choice), len(other))
    mine, theirs = choice.logits[:count], other.logits[:count]
    return mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)
