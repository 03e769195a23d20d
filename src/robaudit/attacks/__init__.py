"""The attacks, each alone, and the scheduler that runs them."""

from collections.abc import Callable
from functools import partial

from robaudit.attacks import geometry
from robaudit.attacks.apgd import APGD
from robaudit.attacks.averaging import Averaged, generators
from robaudit.attacks.engine import Engine
from robaudit.attacks.fab import FAB
from robaudit.attacks.fusing import LiveForm, live_form
from robaudit.attacks.objectives import forward
from robaudit.attacks.pgd import PGD, PGDState
from robaudit.attacks.precision import WORTH_HALF, SearchModel, has_bf16, search_model, strict_arithmetic
from robaudit.attacks.slots import truly_misclassified
from robaudit.attacks.square import Square
from robaudit.attacks.state import Attack, Examples, Retired
from robaudit.attacks.tuning import Tuning, on_threads, tune
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
    "WORTH_HALF",
    "Attack",
    "Averaged",
    "Engine",
    "Examples",
    "LiveForm",
    "PGDState",
    "Retired",
    "SearchModel",
    "Square",
    "Tuning",
    "forward",
    "generators",
    "geometry",
    "has_bf16",
    "live_form",
    "on_threads",
    "search_model",
    "strict_arithmetic",
    "truly_misclassified",
    "tune",
]
