"""How likely a network's answers are, its logits made comparable first."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

#: What logits are divided by to be calibrated: overlarge ones, and too small ones.
COOLING = tuple(1.5**power for power in range(24))
HEATING = tuple(1.5**-power for power in range(1, 12))
#: The loss of an answer that is not finite.
WORST = 1e6


def calibrated_losses(logits: torch.Tensor, labels: torch.Tensor, *, free: bool) -> torch.Tensor:
    """(n,) cross-entropy, the logits divided by the number that makes its mean least.

    A network with a wrong part, or behind a wrong normalisation, loses certainty long before it loses accuracy. Between
    structures the scale of the logits is `free`. Between normalisations it tells, as images that are too small make
    small logits; only overlarge ones (distilled, overconfident) are made smaller.
    """
    divisors = COOLING + HEATING if free else COOLING
    known = labels < logits.shape[1]  # a network of fewer classes has no answer to the others
    inside = torch.where(known, labels, 0)

    def cooled(divisor: float) -> torch.Tensor:
        found = F.cross_entropy(logits / divisor, inside, reduction="none").nan_to_num(WORST, WORST)
        return torch.where(known, found, WORST).clamp(max=WORST)

    return min(map(cooled, divisors), key=lambda losses: float(losses.mean()))


def standard_errors(one: torch.Tensor, other: torch.Tensor) -> float:
    """By how many standard errors the mean of paired losses `one` (n,) is above that of `other` (m,)."""
    count = min(len(one), len(other))
    if count < 2:
        return 0.0
    difference = (one[:count] - other[:count]).double()
    mean, error = float(difference.mean()), float(difference.std()) / math.sqrt(count)
    return mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
