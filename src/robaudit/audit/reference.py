"""The unmodified reference, `pyautoattack`, as an engine: for comparison, not for use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from robaudit.attacks import Examples, Retired
from robaudit.engine import strictly_misclassified
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, seal
from robaudit.plan import AUTOATTACK, AuditPlan

_BATCH = 250


def run_reference(
    name: str,
    plan: AuditPlan,
    strict: nn.Module,
    examples: Examples,
    device: torch.device,
    retire: Callable[[Retired], None],
) -> None:
    """Run one of AutoAttack's four attacks by the reference, at its standard budget; see `Engine.run`.

    Passes are not counted by the reference, so the steps are given as 0.

    Raises:
        RobauditError: the attack is not one of the four.

    """
    try:
        import pyautoattack  # noqa: PLC0415  # slow to import, and rarely wanted
    except ImportError as error:
        raise RobauditError(
            "engine reference: needs the pyautoattack package; pip install pyautoattack"
        ) from error

    if name not in AUTOATTACK:
        raise RobauditError(
            f"{name}: the reference engine has only {', '.join(AUTOATTACK)}; leave it out of --attacks"
        )
    reference = pyautoattack.AutoAttack(
        strict, norm=plan.threat.norm, eps=plan.threat.eps, seed=plan.seed, version="standard", device=device
    )
    reference.attacks_to_run = [name]
    classes = examples.logits.shape[1]
    # The standard version asks for 9 targets whatever the number of classes, and fails below 10.
    reference.apgd_targeted.n_target_classes = min(9, classes - 1)
    reference.fab.n_target_classes = min(9, classes - 1)
    for rows in torch.arange(len(examples)).split(_BATCH):
        x, y = examples.x[rows], examples.y[rows]
        with torch.random.fork_rng():  # it seeds the process's generator
            x_adv, _ = reference.run_standard_evaluation(x, y, batch_size=_BATCH)
        witness = torch.from_numpy(seal(x_adv.cpu().numpy(), x.numpy(), plan.threat))
        broken = strictly_misclassified(strict, witness.to(device), y.to(device)).cpu()
        for outcome, chosen in ((Outcome.BROKEN, broken), (Outcome.ROBUST, ~broken)):
            some = chosen.nonzero().squeeze(1)
            if len(some):
                kept = torch.full((len(some),), int(outcome))
                uncounted = torch.zeros_like(some)
                never = torch.zeros(len(some), 1, dtype=torch.bool)
                unknown = torch.full((len(some),), float("-inf"))
                found = witness[some] if outcome == Outcome.BROKEN else torch.zeros(0)
                retire(
                    Retired(
                        rows=rows[some],
                        outcome=kept,
                        steps=uncounted,
                        forwards=uncounted,
                        backwards=uncounted,
                        near_misses=never,
                        closest=unknown,
                        witness=found,
                        state=None,
                    )
                )
