"""What a network is worth after an epoch, by the very code of `robaudit check`: its PGD-10, its FOSC and SGCS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, Examples, forward
from robaudit.devices import in_double, in_parts
from robaudit.fast import search_model, strict_arithmetic
from robaudit.measures import fosc, sgcs
from robaudit.plan import AuditPlan, ThreatModel

_BATCH = 256


@dataclass(frozen=True)
class Measured:
    """Means over the examples. `clean` and `pgd10` are accuracies; `zero_gradients` a share of PGD-10's gradients."""

    clean: float
    pgd10: float
    fosc: float
    fosc_normalised: float
    sgcs: float
    zero_gradients: float


def measure(  # one argument a thing
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    plan: AuditPlan,
    *,
    search: nn.Module | None = None,
) -> tuple[Measured, Tensor]:
    """PGD-10 on every example, misclassified ones included in the means of FOSC and SGCS as in the paper.

    Args:
        classifier: from (n, C, H, W) in [0, 1] to logits; left as it is.
        x: (n, C, H, W) in [0, 1].
        y: (n,) labels.
        ids: (n,) which key the starts, as in `check`.
        plan: the ball, the number of steps and the seed.
        search: what the attack searches with, in evaluation mode; by default a copy with its batch norms folded.

    Returns:
        the means, and (n,) bool on the CPU: the examples that PGD-10 leaves classified correctly.

    """
    found = search_model(classifier, x.device, "fp32", x[:8]) if search is None else search
    parts = in_parts(
        lambda rows: _measure_part(
            classifier, found, Examples(x[rows], y[rows], ids[rows], x.new_zeros(len(rows), 1)), plan
        ),
        torch.arange(len(y), device=x.device),
        _BATCH,
    )
    table = torch.cat(parts)
    return Measured(*table.mean(0).tolist()), table[:, 1] > 0


def _measure_part(strict: nn.Module, search: nn.Module, examples: Examples, plan: AuditPlan) -> Tensor:
    attack, steps = ATTACKS["pgd10"](plan), plan.budget.pgd_steps
    with strict_arithmetic():
        correct = forward(strict, examples.x).argmax(1) == examples.y
        state = attack.start(examples, torch.zeros_like(examples.y))
        for _ in range(steps + 1):
            state = attack.step(search, state)
    last = fosc(state.gradient, state.candidate, state.x, plan.threat.norm, plan.threat.eps)
    similar = sgcs(state.direction_sum, state.directions, steps)
    at_last = state.gradient.flatten(1).abs().amax(1) == 0
    zeros = in_double(steps - state.directions + at_last) / (steps + 1)
    columns = (correct, correct & ~state.fooled, last.raw, last.normalised, similar, zeros)
    return torch.stack([column.cpu().double() for column in columns], dim=1)


def plan_for(eps: float, seed: int) -> AuditPlan:
    """The plan of PGD-10 in the Linf ball."""
    return AuditPlan(ThreatModel("Linf", eps), attacks=("pgd10",), seed=seed)
