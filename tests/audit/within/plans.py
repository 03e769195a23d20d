"""What is audited to a stated precision."""

from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.shipped import ADVERSARIAL, DISTILLED

BUDGET = Budget(apgd_steps=20, fab_steps=3, square_queries=110, targets=3)
PLAN = AuditPlan(ThreatModel("Linf", 0.1), budget=BUDGET, within=0.05, limit=300, seed=1)
PATHS = {"honest": ADVERSARIAL, "masked": DISTILLED}
