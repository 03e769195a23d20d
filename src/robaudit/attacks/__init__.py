"""The attacks, each alone: images in, images out."""

from collections.abc import Callable
from functools import partial

from robaudit.attacks import geometry
from robaudit.attacks.apgd import APGD
from robaudit.attacks.fab import FAB
from robaudit.attacks.objectives import forward
from robaudit.attacks.pgd import PGD, PGDState
from robaudit.attacks.square import Square
from robaudit.attacks.state import Attack, Examples, Retired
from robaudit.plan import AuditPlan

#: PGD's step at eps 8/255 is 2/255 (Li et al., Appendix B), and in proportion elsewhere.
PGD_STEP = 0.25


def _apgd(plan: AuditPlan, name: str, loss: str) -> APGD:
    budget = plan.budget
    return APGD(
        plan.threat.norm,
        plan.threat.eps,
        loss=loss,
        steps=budget.apgd_steps,
        targets=budget.targets,
        restarts=budget.restarts,
        seed=plan.seed,
        name=name,
    )


ATTACKS: dict[str, Callable[[AuditPlan], Attack]] = {
    "pgd10": lambda plan: PGD(
        plan.threat.norm,
        plan.threat.eps,
        PGD_STEP * plan.threat.eps,
        steps=plan.budget.pgd_steps,
        seed=plan.seed,
    ),
    "apgd-ce": partial(_apgd, name="apgd-ce", loss="ce"),
    "apgd-dlr": partial(_apgd, name="apgd-dlr", loss="dlr"),
    "apgd-t": partial(_apgd, name="apgd-t", loss="dlr-targeted"),
    "fab-t": lambda plan: FAB(
        plan.threat.norm,
        plan.threat.eps,
        steps=plan.budget.fab_steps,
        targets=plan.budget.targets,
        restarts=plan.budget.restarts,
        seed=plan.seed,
    ),
    "square": lambda plan: Square(
        plan.threat.norm,
        plan.threat.eps,
        queries=plan.budget.square_queries,
        restarts=plan.budget.restarts,
        seed=plan.seed,
    ),
}

__all__ = [
    "APGD",
    "ATTACKS",
    "FAB",
    "PGD",
    "PGD_STEP",
    "Attack",
    "Examples",
    "PGDState",
    "Retired",
    "Square",
    "forward",
    "geometry",
]
