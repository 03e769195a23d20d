"""A header as rows and back, and whether two of them are of the same audit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from robaudit.evidence.digest import FIELD
from robaudit.evidence.evidence import SCHEMA, Header
from robaudit.evidence.fields import check
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


def from_rows(values: dict[str, Any]) -> Header:
    """The header whose fields `to_rows` wrote, each already out of its JSON.

    Raises:
        ValueError: a field is missing, unknown or not what it should be.

    """
    former = {name: values[old] for old, name in _RENAMED.items() if old in values}
    fields = former | {key: value for key, value in values.items() if key not in ("schema", FIELD, *_RENAMED)}
    check(fields)
    return Header(
        **fields | {"plan": AuditPlan.from_dict(fields["plan"]), "findings": tuple(fields["findings"])}
    )


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
