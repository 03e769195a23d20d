"""Audits that stop when the time is over and go on from their evidence later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gpu_stages.deadline import Deadline
from robaudit.audit import audit
from robaudit.evidence import Evidence
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan


class Watching:
    """An audit's progress that ends it when the time is over."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline

    def begin(self, stage: str, total: int) -> None:
        """Not begun when it is too late."""
        self.deadline.check()

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Not gone on with when it is too late."""
        self.deadline.check()

    def end(self, stage: str) -> None:
        """Nothing."""


def run(
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    path: Path,
    device: torch.device,
    deadline: Deadline,
) -> Evidence:
    """The evidence, which is in the file `path` too; what an earlier call left there is gone on with.

    Raises:
        TimeIsUp: `path` holds what was finished until then.
        RobauditError: the audit could not be made.

    """
    return audit(
        classifier, images, plan, path=path, device=str(device), progress=Watching(deadline), force=True
    )


def equal_share(one: Evidence, other: Evidence, attack: str) -> float:
    """The share of examples with the same outcome under an attack, or without it (misclassified) in both."""
    assert (one.ids == other.ids).all()
    return float(np.mean(one.attacks[attack].outcome == other.attacks[attack].outcome))


def robust(evidence: Evidence, attack: str) -> float:
    """Robust accuracy under an attack, or under `autoattack`, of all examples; a fraction."""
    return float(np.mean(evidence.survives(attack)))
