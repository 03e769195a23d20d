"""A header as rows and back, and whether two of them are of the same audit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from robaudit.evidence.digest import FIELD
from robaudit.evidence.evidence import SCHEMA, Header
from robaudit.evidence.fields import check
from robaudit.evidence.scouts import MINIMUM
from robaudit.plan import AuditPlan

# What must be the same for an unfinished audit to be resumed; the rest may differ (another device, say).
IDENTITY = ("schema", "plan", "model", "data")
# And what of these says nothing about that.
_ASIDE = {"model": ("path", "notes", "key"), "data": ("class_names", "name", "split")}
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
        ValueError: a field is missing, unknown or not what it should be, or does not go with another.

    """
    former = {name: values[old] for old, name in _RENAMED.items() if old in values}
    fields = former | {key: value for key, value in values.items() if key not in ("schema", FIELD, *_RENAMED)}
    check(fields)
    plan = AuditPlan.from_dict(fields["plan"])
    if claim := fields.get("claim"):
        name = claim["attack"]
        if plan.before(name) or not set(plan.members if name == "autoattack" else (name,)) <= set(
            plan.attacks
        ):
            raise ValueError("its claim is about an attack that its plan has not, or on what others left")
    return Header(**fields | {"plan": plan, "findings": tuple(fields["findings"])})


def same(key: str, old: Any, new: Any) -> bool:
    """Whether two header entries are of the same audit.

    A model is what it computes, wherever its file lies; data are their pixels and labels. A plan is completed by the
    defaults of what earlier versions did not have; how precise AutoAttack's number is wanted may change.

    Raises:
        KeyError, TypeError, ValueError: an entry is damaged.

    """
    if key == "model":
        return same_model(old, new)
    return bool(_bare(key, old) == _bare(key, new))


def within_wanted(before: Header, asked: float | None) -> float | None:
    """What an audit of `before` that is asked for now wants AutoAttack's number within; None wants the verdict only.

    Further draws make it more precise. What is finished and more precise than asked is left as it is, unless it ended
    before, with a policy's minimum.
    """
    had = before.plan.within
    precise = before.finished and not before.early_stopping.get(MINIMUM)
    if asked is None or (precise and had is not None and had <= asked):
        return had
    return asked


def same_model(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two headers' models are one: their digests tell.

    A file of an earlier version has none. There the same checkpoint, read alike (its notes say which of several models
    in it was taken), is the same model; what has no file of its own is not known to be.
    """
    if old.get("digest") and new.get("digest"):
        return bool(old["digest"] == new["digest"])
    alike = ("sha256", "architecture", "normalisation")
    return (
        bool(old["sha256"]) and all(old[name] == new[name] for name in alike) and _taken(old) == _taken(new)
    )


def joined(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """The versions of an audit that one began and another resumed: `0.1.0, then 0.2.0`."""
    return {
        name: old if old.rpartition(", then ")[2] == now.get(name, old) else f"{old}, then {now[name]}"
        for name, old in before.items()
    }


def _taken(model: dict[str, Any]) -> list[str]:
    return [note for note in model.get("notes", []) if str(note).startswith("weights taken from ")]


def _bare(key: str, value: Any) -> Any:
    if key == "plan":
        return AuditPlan.from_dict(value).to_dict() | {"within": None}
    aside = _ASIDE.get(key, ())
    return {name: item for name, item in value.items() if name not in aside} if aside else value


def difference(key: str, old: Any, new: Any) -> str:
    """The first field in which two header entries differ, as ` (seed: 0 there, 1 now)`."""
    old, new = _bare(key, old), _bare(key, new)
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                there, now = (
                    "none" if item in (None, []) else item for item in (old.get(name), new.get(name))
                )
                return f" ({name}: {there} there, {now} now)"
    return ""
