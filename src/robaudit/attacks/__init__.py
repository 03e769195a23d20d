"""The attacks, each alone: images in, images out. The functions take the place of the files of the same names."""

from collections.abc import Callable
from functools import partial

from robaudit.attacks import geometry
from robaudit.attacks.apgd import APGD
from robaudit.attacks.apgd_l1 import APGDL1
from robaudit.attacks.fab import FAB, NearestFAB
from robaudit.attacks.functions import PGD_STEP, apgd, apgd_class, apgd_targeted, fab, pgd, square
from robaudit.attacks.objectives import forward
from robaudit.attacks.pgd import PGD, PGDState
from robaudit.attacks.square import Square
from robaudit.attacks.state import Attack, Examples, Retired
from robaudit.plan import AuditPlan


def _apgd(plan: AuditPlan, name: str, loss: str) -> APGD:
    budget = plan.budget_of(name)
    return apgd_class(plan.threat.norm)(
        plan.threat.norm,
        plan.threat.eps,
        loss=loss,
        steps=budget.apgd_steps,
        targets=budget.targets,
        restarts=budget.restarts,
        seed=plan.seed,
        name=name,
    )


def _fab(plan: AuditPlan, name: str, *, targeted: bool) -> FAB | NearestFAB:
    budget = plan.budget_of(name)
    return (FAB if targeted else NearestFAB)(
        plan.threat.norm,
        plan.threat.eps,
        steps=budget.fab_steps,
        targets=budget.targets,
        restarts=budget.restarts,
        seed=plan.seed,
        name=name,
    )


def _pgd(plan: AuditPlan) -> PGD:
    threat = plan.threat
    return PGD(threat.norm, threat.eps, PGD_STEP * threat.eps, steps=plan.budget.pgd_steps, seed=plan.seed)


def _square(plan: AuditPlan) -> Square:
    budget = plan.budget_of("square")
    return Square(
        plan.threat.norm,
        plan.threat.eps,
        queries=budget.square_queries,
        restarts=budget.restarts,
        seed=plan.seed,
    )


ATTACKS: dict[str, Callable[[AuditPlan], Attack]] = {
    "pgd10": _pgd,
    "apgd-ce": partial(_apgd, name="apgd-ce", loss="ce"),
    "apgd-dlr": partial(_apgd, name="apgd-dlr", loss="dlr"),
    "apgd-t": partial(_apgd, name="apgd-t", loss="dlr-targeted"),
    "fab": partial(_fab, name="fab", targeted=False),
    "fab-t": partial(_fab, name="fab-t", targeted=True),
    "square": _square,
    # With the gradient of another model: through a stand-in on the margin, and to a far point of the other's own.
    "surrogate": partial(_apgd, name="surrogate", loss="dlr"),
    "transfer": partial(_apgd, name="transfer", loss="ce"),
}

__all__ = [
    "APGD",
    "APGDL1",
    "ATTACKS",
    "FAB",
    "PGD",
    "PGD_STEP",
    "Attack",
    "Examples",
    "NearestFAB",
    "PGDState",
    "Retired",
    "Square",
    "apgd",
    "apgd_targeted",
    "fab",
    "forward",
    "geometry",
    "pgd",
    "square",
]
