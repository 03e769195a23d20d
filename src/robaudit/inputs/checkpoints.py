"""What a file holds, read without running anything in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from robaudit.errors import RobauditError


@dataclass(frozen=True)
class Contents:
    """A checkpoint file's contents.

    Attributes:
        path: the file.
        format: such as `safetensors` or `pytorch zip`.
        tree: nested dicts, lists, tensors and plain values.
        metadata: text entries of a safetensors header.

    """

    path: Path
    format: str
    tree: Any = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


def file_sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checkpoint(path: Path) -> Contents:
    """Read a file of tensors.

    Raises:
        RobauditError: no such file, or not a checkpoint, or one that cannot be read safely.

    """
    if not path.exists():
        raise RobauditError(f"{path}: no such file; pass a checkpoint's path")
    if path.is_dir():
        raise RobauditError(f"{path}: is a folder; pass the checkpoint file inside it")
    if path.suffix == ".safetensors":
        try:
            with safe_open(str(path), "pt") as content:
                tree = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
                return Contents(path, "safetensors", tree, dict(content.metadata() or {}))
        except (SafetensorError, OSError) as error:
            raise RobauditError(
                f"{path}: not a readable safetensors file ({error}); download it again"
            ) from error
    try:
        return Contents(path, "pytorch", torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RobauditError(
            f"{path}: cannot be read safely ({reason}); save its state_dict() with torch.save"
        ) from error


def own_metadata(contents: Contents) -> dict[str, Any]:
    """What `save_classifier` wrote into the file, or nothing."""
    try:
        entry = json.loads(contents.metadata.get("robaudit", "{}"))
    except json.JSONDecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}
