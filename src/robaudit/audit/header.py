"""What is being audited, as the evidence's header says it."""

from __future__ import annotations

import platform
from typing import Any

import torch

import robaudit
from robaudit.devices import describe
from robaudit.errors import RobauditError
from robaudit.evidence import Header, same_model
from robaudit.inputs import Classifier, Images, module_digest
from robaudit.plan import AuditPlan
from robaudit.verdict import Claim, Finding


def identity_of(classifier: Classifier) -> str:
    """The digest of what is audited."""
    return classifier.info.digest or module_digest(classifier.network, classifier.info.normalisation)


def model_fields(classifier: Classifier) -> dict[str, Any]:
    """The model as a header says it."""
    info = classifier.info
    return {
        "path": info.path,
        "sha256": info.sha256,
        "digest": identity_of(classifier),
        "architecture": info.architecture,
        "normalisation": info.normalisation,
        "parameters": info.parameters,
        "classes": info.classes,
        "notes": list(info.notes),
        "key": info.key,
    }


def expect_model(header: Header, classifier: Classifier) -> None:
    """Nothing, if `classifier` is what was audited.

    Raises:
        RobauditError: it is another.

    """
    found = model_fields(classifier)
    if not header.model.get("digest"):  # of an earlier version: what was chosen by flags is the user's word
        found |= {name: header.model[name] for name in ("architecture", "normalisation")}
    if not same_model(header.model, found):
        raise another_model(header, classifier.info.path)


def another_model(header: Header, path: str) -> RobauditError:
    """The error that the model at `path` is not the one that was audited."""
    kind = "digest" if header.model.get("digest") else "sha256"
    return RobauditError(
        f"{path}: is not the model of this evidence ({header.model['path']}, {kind} {header.model[kind][:12]}…); "
        "give what was audited"
    )


def make_header(
    classifier: Classifier,
    images: Images,
    plan: AuditPlan,
    device: torch.device,
    findings: tuple[Finding, ...],
    last: str = "",
    claim: Claim | None = None,
) -> Header:
    """The header of an audit that has not begun.

    `findings` are preflight's, `last` is an operation at the model's end before which it is attacked, `claim` is kept
    unless it is a policy's.
    """
    notes = [f"its last operation is a {last}: PGD-10 attacks it as it is, all other attacks before that"]
    model = model_fields(classifier)
    return Header(
        plan=plan,
        model=model | {"notes": [*model["notes"], *(notes if last else [])]},
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
        claim={} if claim is None or claim.demanded else {"value": claim.value, "attack": claim.attack},
    )
