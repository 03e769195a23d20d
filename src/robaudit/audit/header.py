"""What is being audited, as the evidence's header says it."""

from __future__ import annotations

import platform

import torch

import robaudit
from robaudit.devices import describe
from robaudit.evidence import Header
from robaudit.inputs import Classifier, Images
from robaudit.plan import AuditPlan
from robaudit.verdict import Finding


def make_header(
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    device: torch.device,
    findings: tuple[Finding, ...],
    last: str = "",
) -> Header:
    """The header of an audit that has not begun; `findings` are preflight's, `last` is what is attacked before."""
    info = classifier.info
    notes = [f"its last operation is a {last}: PGD-10 attacks it as it is, all other attacks before that"]
    return Header(
        plan=plan,
        model={
            "path": info.path,
            "sha256": info.sha256,
            "architecture": info.architecture,
            "normalisation": info.normalisation,
            "parameters": info.parameters,
            "classes": info.classes,
            "notes": [*info.notes, *(notes if last else [])],
        },
        data={
            "name": images.name,
            "split": images.split,
            "n": len(images),
            "total": images.total,
            "sha256": images.sha256,
            "shape": list(images.pixels.shape[1:]),
            "classes": images.classes,
            "class_names": list(images.class_names),
        },
        versions={
            "robaudit": robaudit.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        device=describe(device),
        findings=tuple(item.to_dict() for item in findings),
    )
