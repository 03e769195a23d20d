"""How many draws of a randomised model its mean is taken over, where nobody says: by a quick measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from robaudit.attacks import forward
from robaudit.attacks.objectives import margin
from robaudit.audit.preflight import determinism, first_logits
from robaudit.devices import in_double
from robaudit.evidence import EvidenceFile
from robaudit.fast import generators, strict_arithmetic
from robaudit.inputs import Images
from robaudit.plan import AUTO_DRAWS, AuditPlan, Budget

#: What is chosen from.
CHOICES = (8, 16)
#: Draws that the spread is measured with, and clean examples.
_MEASURED_DRAWS, _EXAMPLES = 16, 32
#: The mean's margin is to be this many of its standard errors from zero, for this share of the examples.
_STANDARD_ERRORS, _SHARE = 3.0, 0.75
#: Each pass is one a draw: what is left of the standard budget keeps such an audit within the time of another.
RANDOMISED_BUDGET = Budget(apgd_steps=50, fab_steps=20, targets=3, square_queries=1000)


def choose_draws(
    plan: AuditPlan, model: nn.Module, images: Images, device: torch.device, path: Path
) -> AuditPlan:
    """`plan` with a number of draws: its own, that of an unfinished audit in `path`, or a measured one.

    1 where the model is not randomised. Where it is, a budget that is the standard one becomes `RANDOMISED_BUDGET`.
    """
    if plan.eot != AUTO_DRAWS:
        return plan
    if path.exists():
        recorded = EvidenceFile.open(path).header().plan
        if replace(recorded, eot=AUTO_DRAWS, budget=plan.budget, within=plan.within) == plan:
            return replace(recorded, within=plan.within)
    with strict_arithmetic(), generators(0):
        x, logits = first_logits(model, images.float(slice(0, _EXAMPLES)), device)
        found = determinism(model, x, logits) if logits.dim() == 2 else []
    if [item.code for item in found] != ["randomised-output"]:
        return replace(plan, eot=1)
    labels = images.labels[: len(x)].to(device)
    budget = RANDOMISED_BUDGET if plan.budget == Budget() else plan.budget
    return replace(plan, eot=draws_needed(model, x, labels, plan.seed), budget=budget)


def draws_needed(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> int:
    """Whichever of `CHOICES` is the first to leave no doubt about most of the mean's answers; the most where none does.

    Args:
        model: randomised, to logits.
        x: (n, C, H, W) in [0, 1].
        y: (n,), labels.
        seed: fixes the draws that are looked at.

    """
    margins = []
    for number in range(_MEASURED_DRAWS):
        with strict_arithmetic(), generators(seed + number):
            margins.append(margin(forward(model, x), y))
    found = in_double(torch.stack(margins).nan_to_num(0.0))
    mean = found.mean(0).abs().clamp_min(1e-12)
    needed = float((_STANDARD_ERRORS * found.std(0) / mean).square().quantile(_SHARE))
    return next((choice for choice in CHOICES if choice >= needed), CHOICES[-1])
