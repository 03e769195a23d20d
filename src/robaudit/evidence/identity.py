"""A header as rows, and whether two of them are of the same audit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from robaudit.evidence.evidence import SCHEMA, Header

# What must be the same for an unfinished audit to be gone on with; the rest may differ (another device, say).
IDENTITY = ("schema", "plan", "model", "data")


def to_rows(header: Header) -> list[tuple[str, str]]:
    """Each field as (key, JSON)."""
    values = {item.name: getattr(header, item.name) for item in dataclasses.fields(header)}
    values |= {"schema": SCHEMA, "plan": header.plan.to_dict(), "findings": list(header.findings)}
    return [(key, json.dumps(value, sort_keys=True)) for key, value in values.items()]


def identity(key: str, value: Any) -> Any:
    """A model is its weights and how they are used, wherever the file lies and however it was recognised."""
    if key != "model":
        return value
    return {name: item for name, item in value.items() if name not in ("path", "notes")}


def difference(old: Any, new: Any) -> str:
    """The first field in which two header entries differ, as ` (seed: 0 there, 1 now)`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                return f" ({name}: {old.get(name)} there, {new.get(name)} now)"
    return ""
