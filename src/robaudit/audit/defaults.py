"""Where the evidence of an audit goes if nobody says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from robaudit.errors import RobauditError
from robaudit.inputs import Images, ModelInfo
from robaudit.places import cache_folder
from robaudit.plan import AuditPlan


def default_evidence(model: str, info: ModelInfo, plan: AuditPlan, images: Images) -> Path:
    """A place in the cache folder that the same audit finds again, more precise or less, and another never takes."""
    parts = [info.digest, plan.to_dict() | {"within": None}, images.sha256, images.split]
    identity = json.dumps(parts, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    folder = cache_folder() / "evidence"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RobauditError(f"{folder}: cannot be created ({error.strerror}); pass --evidence") from error
    return folder / f"{Path(model).stem}-{digest}.evidence"
