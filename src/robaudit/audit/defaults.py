"""What an audit is given where nobody says: a device, and a place for the evidence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import Images, ModelInfo
from robaudit.plan import AuditPlan


def pick_device(name: str) -> str:
    """`auto` is the first GPU, else the CPU.

    Raises:
        RobauditError: no such device here.

    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RobauditError(f"device '{name}' cannot be used ({reason}); try --device cpu") from error
    return name


def default_evidence(model: str, info: ModelInfo, plan: AuditPlan, images: Images) -> Path:
    """A place in the cache folder that the same audit finds again and another never takes."""
    parts = [info.sha256, info.architecture, info.normalisation, plan.to_dict(), images.sha256, images.split]
    identity = json.dumps(parts, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    folder = Path(platformdirs.user_cache_dir("robaudit")) / "evidence"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RobauditError(f"{folder}: cannot be created ({error.strerror}); pass --evidence") from error
    return folder / f"{Path(model).stem}-{digest}.evidence"
