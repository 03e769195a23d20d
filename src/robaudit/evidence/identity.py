"""A header as rows and back, and whether two of them are of the same audit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from robaudit.evidence.evidence import SCHEMA, Header
from robaudit.plan import AuditPlan

# What must be the same for an unfinished audit to be resumed; the rest may differ (another device, say).
IDENTITY = ("schema", "plan", "model", "data")
# What files of earlier versions call a field.
_RENAMED = {"course": "early_stopping"}


def to_rows(header: Header) -> list[tuple[str, str]]:
    """Each field as (key, JSON)."""
    values = {item.name: getattr(header, item.name) for item in dataclasses.fields(header)}
    values |= {"schema": SCHEMA, "plan": header.plan.to_dict(), "findings": list(header.findings)}
    return [(key, json.dumps(value, sort_keys=True)) for key, value in values.items()]


#: What every header says, and as what; a damaged or forged file says otherwise.
_TYPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "model": {
        "path": str,
        "sha256": str,
        "architecture": str,
        "normalisation": str,
        "parameters": int,
        "classes": int,
        "notes": list,
    },
    "data": {
        "name": str,
        "split": str,
        "n": int,
        "total": int,
        "sha256": str,
        "shape": list,
        "classes": int,
    },
    "versions": {"robaudit": str, "torch": str, "python": str},
}


def from_rows(values: dict[str, Any]) -> Header:
    """The header whose fields `to_rows` wrote, each already out of its JSON.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or is not what it should be.

    """
    former = {name: values[old] for old, name in _RENAMED.items() if old in values}
    fields = former | {key: value for key, value in values.items() if key not in ("schema", *_RENAMED)}
    for name, types in _TYPES.items():
        for key, kind in types.items():
            if not isinstance(fields[name][key], kind):
                raise TypeError(f"{name}.{key}: {fields[name][key]!r:.40}")
    if not all(isinstance(item, int) for item in fields["data"]["shape"]):
        raise TypeError("data.shape: not all numbers")
    if not all(isinstance(item, str) for item in fields["model"]["notes"]):
        raise TypeError("model.notes: not all text")
    findings = tuple(fields["findings"])
    if not all(isinstance(text, str) for item in findings for text in item.values()):
        raise TypeError("findings: not all text")
    if not all(isinstance(item, int | float) for item in fields.get("probes", {}).values()):
        raise TypeError("probes: not all numbers")
    if not all(isinstance(item, int) for item in fields.get("early_stopping", {}).values()):
        raise TypeError("early_stopping: not all whole numbers")
    if not isinstance(fields["seconds"], int | float):
        raise TypeError("seconds: not a number")
    if not all(isinstance(item, str) for item in (fields["device"], fields.get("precision", ""))):
        raise TypeError("device or precision: not text")
    return Header(**fields | {"plan": AuditPlan.from_dict(fields["plan"]), "findings": findings})


def identity(key: str, value: Any) -> Any:
    """A model is its weights and how they are used, wherever the file lies; data are their pixels and labels.

    A plan is completed by the defaults of what earlier versions did not have.
    """
    if key == "plan":
        return AuditPlan.from_dict(value).to_dict()
    aside = {"model": ("path", "notes"), "data": ("class_names",)}.get(key, ())
    return {name: item for name, item in value.items() if name not in aside} if aside else value


def difference(old: Any, new: Any) -> str:
    """The first field in which two header entries differ, as ` (seed: 0 there, 1 now)`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                return f" ({name}: {old.get(name)} there, {new.get(name)} now)"
    return ""
