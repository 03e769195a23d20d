"""Re-check every witness of an evidence file with one strict float32 pass, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from robaudit.devices import in_parts
from robaudit.engine import strictly_misclassified
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile, Header, WitnessRow, decode_image, decode_witness, inside
from robaudit.fast import Averaged
from robaudit.inputs import Classifier
from robaudit.plan import AuditPlan, ThreatModel

_BATCH = 256
#: Values of all images of a batch: 256 MB.
_VALUES = 1 << 26


@dataclass(frozen=True)
class Verification:
    """How many witnesses there were, and what is wrong with which."""

    witnesses: int
    failures: tuple[str, ...]


def judging(classifier: Classifier, plan: AuditPlan) -> nn.Module:
    """What a break must fool: the classifier, or its mean over the draws that are kept for this."""
    if plan.eot == 1:
        return classifier
    return Averaged(classifier, plan.eot, plan.seed, "judge", one_by_one=True)


def expect_model(header: Header, path: str, sha256: str) -> None:
    """Nothing, if the file at `path` is the one that was audited.

    Raises:
        RobauditError: it is another.

    """
    if header.model["sha256"] != sha256:
        raise RobauditError(
            f"{path}: is not the model of this evidence ({header.model['path']}, "
            f"sha256 {header.model['sha256'][:12]}…); give the file that was audited"
        )


def verify(path: Path, classifier: Classifier, device: str = "cpu") -> Verification:
    """Whether each claimed break is one: inside the ball and [0, 1], finite, misclassified by `classifier`.

    Raises:
        RobauditError: the file is damaged or of another schema, or was made with another model.

    """
    with EvidenceFile.open(path) as file:
        header, rows = file.header(), file.witnesses()
    expect_model(header, classifier.info.path, classifier.info.sha256)
    shape = tuple(int(size) for size in header.data["shape"])
    model = judging(classifier.to(device), header.plan)
    failures: list[str] = []

    def check(part: torch.Tensor) -> list[str]:
        return _check([rows[k] for k in part.tolist()], header.plan.threat, model, shape, device)

    at_once = max(1, min(_BATCH, _VALUES // math.prod(shape)))
    for found in in_parts(check, torch.arange(len(rows)), at_once):
        failures += found
    return Verification(len(rows), tuple(failures))


def _check(
    rows: list[WitnessRow], threat: ThreatModel, model: nn.Module, shape: tuple[int, ...], device: str
) -> list[str]:
    good, x, x_adv, failures = [], [], [], []
    for row in rows:
        try:
            image = decode_image(row.image, shape)  # type: ignore[arg-type]
            x_adv.append(decode_witness(row.witness, image, threat))
        except ValueError as error:
            failures.append(f"{row.attack} on example {row.id}: {error}")
            continue
        x.append(image)
        good.append(row)
    if not good:
        return failures
    points = np.stack(x_adv)
    valid = inside(points, np.stack(x), threat)
    labels = torch.tensor([row.label for row in good], device=device)
    fools = strictly_misclassified(model, torch.from_numpy(points).to(device), labels).tolist()
    for row, contained, fooled in zip(good, valid.tolist(), fools, strict=True):
        if not contained:
            failures.append(f"{row.attack} on example {row.id}: outside the ball or [0, 1]")
        elif not fooled:
            failures.append(f"{row.attack} on example {row.id}: the model classifies it correctly")
    return failures
