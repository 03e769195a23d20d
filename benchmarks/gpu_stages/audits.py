"""Audits that stop when the time is over and are resumed from their evidence later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gpu_stages.deadline import Deadline, TimeIsUp
from robaudit.audit import audit
from robaudit.evidence import Evidence
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan


class Watching:
    """An audit's progress that measures each attack, and begins none that would not be done in time.

    Attributes:
        deadline: what it asks; the times it measures are seconds an example.
        kind: of the model and device, for which one forecast holds.

    """

    def __init__(self, deadline: Deadline, kind: str) -> None:
        self.deadline, self.kind = deadline, kind
        self._began: dict[str, tuple[float, int]] = {}

    def _name(self, stage: str) -> str:
        return f"{self.kind} {stage}, an example"

    def begin(self, stage: str, total: int) -> None:
        """Not begun when it is too late."""
        if not self.deadline.allows(self._name(stage), times=total):
            raise TimeIsUp
        self._began[stage] = (self.deadline.left(), total)

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Not resumed when it is too late."""
        self.deadline.check()

    def end(self, stage: str) -> None:
        """The next forecast."""
        left, total = self._began[stage]
        self.deadline.took[self._name(stage)] = (left - self.deadline.left()) / max(total, 1)

    def note(self, text: str) -> None:
        """Nothing."""


def run(
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    path: Path,
    device: torch.device,
    watching: Watching,
) -> Evidence:
    """The evidence, which is in the file `path` too; what an earlier call left there is resumed.

    Raises:
        TimeIsUp: `path` holds what was finished until then.
        RobauditError: the audit could not be made.

    """
    return audit(classifier, images, plan, path=path, device=str(device), progress=watching, force=True)


def equal_share(one: Evidence, other: Evidence, attack: str) -> float:
    """The share of examples with the same outcome under an attack, or without it (misclassified) in both."""
    assert (one.ids == other.ids).all()
    return float(np.mean(one.attacks[attack].outcome == other.attacks[attack].outcome))


def robust(evidence: Evidence, attack: str) -> float:
    """Robust accuracy under an attack, or under `autoattack`, of all examples; a fraction."""
    return float(np.mean(evidence.survives(attack)))
