"""Why PGD-10 failed where it did: the indicators of attack failure, from its own trajectories.

Pintor et al. 2022 (https://arxiv.org/abs/2106.09947, Section 3). Written for PGD-10, which is short, and counted over
the examples on which it fails: a network without any defence, whose loss is nearly zero everywhere, would otherwise
alarm two of them. Departures from the paper's own definitions are said beside each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks import PGD, Examples, forward
from robaudit.attacks.objectives import Model, cross_entropy, evaluate, margin, misclassified
from robaudit.attacks.randomness import Draws

#: As a share of PGD's steps, how many are its last: the paper's 10 are of a longer attack.
_LAST_STEPS = 0.2
_NEIGHBOURS = 16


@dataclass(frozen=True)
class Trajectory:
    """PGD's iterates of n examples, the last included: `margins` and `fooled` (steps + 1, n); `last` (n, C, H, W)."""

    margins: Tensor
    fooled: Tensor
    last: Tensor


def follow(model: Model, attack: PGD, examples: Examples) -> Trajectory:
    """PGD as the audit runs it, with what the model answered at each iterate."""
    answers: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        logits = model(x)
        answers.append(logits.detach().float())
        return logits

    state = attack.start(examples, torch.zeros(len(examples), dtype=torch.int64, device=examples.x.device))
    for _ in range(attack.steps + 1):
        state = attack.step(watched, state)
    y = examples.y
    return Trajectory(
        torch.stack([margin(logits, y) for logits in answers]),
        torch.stack([misclassified(logits, y) for logits in answers]),
        state.candidate,
    )


def indicators(search: Model, strict: Model, attack: PGD, examples: Examples) -> dict[str, Tensor]:
    """Five of the six indicators for each example; the sixth, the attack without a bound, is a probe already.

    Args:
        search: what PGD follows.
        strict: what judges.
        attack: PGD as in the audit.
        examples: n > 0, on the models' device.

    Returns:
        (n,) in [0, 1] each, on the CPU, whatever came of the attack: all but the last of `verdict.INDICATORS`.

    """
    x, y = examples.x, examples.y
    path = follow(search, attack, examples)
    judged = misclassified(forward(strict, path.last), y)
    found = {
        "unavailable_gradients": _unavailable(search, x, y),
        "unstable_predictions": _unstable(search, attack, examples),
        # The paper's code never sees one: it compares with the iterate that its attack returns, the best.
        "silent_success": (path.fooled[:-1].any(0) & ~path.fooled[-1]).float(),
        "incomplete_optimization": _incomplete(path.margins).float(),
        "transfer_failure": (path.fooled[-1] & ~judged).float(),
    }
    return {name: rows.cpu() for name, rows in found.items()}


def _unavailable(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """(n,): 1 where the gradient of the cross-entropy at the clean input is exactly zero."""
    gradient = evaluate(model, x, lambda logits: cross_entropy(logits, y)).gradient
    return (gradient.flatten(1).abs().amax(1) == 0).float()


def _unstable(model: Model, attack: PGD, examples: Examples) -> Tensor:
    """(n,) in [0, 1]: by what share the loss changes beside the clean input, on the mean of some random neighbours.

    Within half the radius, as the paper's; the loss is compared with at least 1, for next to a loss of 0.001 every
    change is large and means nothing.
    """
    x, y = examples.x, examples.y
    draws = Draws(attack.seed, "neighbours")
    here = cross_entropy(forward(model, x), y)
    total = torch.zeros_like(here)
    for number in range(_NEIGHBOURS):
        shift = draws.uniform(examples.ids, number, x[0].numel()).reshape(x.shape) - 0.5
        there = cross_entropy(forward(model, (x + attack.eps * shift).clamp(0, 1)), y)
        total += (there - here).abs() / here.abs().clamp_min(1)
    return (total / _NEIGHBOURS).nan_to_num(1.0).clamp_max(1)


def _incomplete(margins: Tensor) -> Tensor:
    """(n,) bool, of (steps + 1, n): whether as many steps again, at the pace of the last, would break the example.

    The paper asks whether the loss still rises, as it does for PGD-10 on most networks that are honest: what matters is
    whether that would lead anywhere.
    """
    best = margins.nan_to_num(-torch.inf).cummax(0).values
    steps = len(margins) - 1
    last = max(round(_LAST_STEPS * steps), 1)
    pace = (best[-1] - best[-1 - last]) / last
    return (best[-1] <= 0) & (best[-1] + steps * pace > 0)
