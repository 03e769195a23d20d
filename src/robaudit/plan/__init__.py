"""What is to be audited and how: the threat model, the attacks' budgets, the seed and the bounds."""

from robaudit.plan.audit_plan import (
    AUTO_DRAWS,
    AuditPlan,
    Engine,
    Examples,
    Precision,
    precision_wanted,
)
from robaudit.plan.budget import SPENDS, Bounds, Budget
from robaudit.plan.names import (
    ATTACK_NAMES,
    AUTOATTACK,
    HELPED,
    STANDARD_ATTACKS,
    TITLES,
    VERSIONS,
    Asked,
    Version,
    ask,
    own_budgets,
    title,
)
from robaudit.plan.threat import Norm, ThreatModel, eps_text, parse_fraction, parse_norm, threat_model

__all__ = [
    "ATTACK_NAMES",
    "AUTOATTACK",
    "AUTO_DRAWS",
    "HELPED",
    "SPENDS",
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
    "eps_text",
    "own_budgets",
    "parse_fraction",
    "parse_norm",
    "precision_wanted",
    "threat_model",
    "title",
]
