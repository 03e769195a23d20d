"""What is to be audited and how: the threat model, the attacks' budgets, the seed and the bounds."""

from robaudit.plan.audit_plan import AUTO_DRAWS, AuditPlan, Bounds, Budget, Engine, Examples, Precision
from robaudit.plan.names import (
    ATTACK_NAMES,
    AUTOATTACK,
    STANDARD_ATTACKS,
    TITLES,
    VERSIONS,
    Asked,
    Version,
    ask,
    title,
)
from robaudit.plan.threat import Norm, ThreatModel, parse_fraction

__all__ = [
    "ATTACK_NAMES",
    "AUTOATTACK",
    "AUTO_DRAWS",
    "STANDARD_ATTACKS",
    "TITLES",
    "VERSIONS",
    "Asked",
    "AuditPlan",
    "Bounds",
    "Budget",
    "Engine",
    "Examples",
    "Norm",
    "Precision",
    "ThreatModel",
    "Version",
    "ask",
    "parse_fraction",
    "title",
]
