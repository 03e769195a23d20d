"""The commands that repeat an audit, from its evidence."""

from __future__ import annotations

import shlex
from typing import Any

from robaudit.escaping import plain
from robaudit.plan import HELPED, VERSIONS, AuditPlan, Bounds, Budget
from robaudit.reports.formatting import eps_text

#: What stands for another model in a command; a stranger's file never names code that is run.
_OTHERS = {"surrogate": "FILE.py:FACTORY", "transfer": "OTHER"}
#: A flag, its value and its default.
Flag = tuple[str, object, object]


def commands(data: dict[str, Any], source: str) -> list[str]:
    """What repeats the audit and re-checks its evidence; of a model or images in memory, the call from Python.

    Args:
        data: `summary` of the evidence.
        source: the evidence file.

    """
    in_memory = [str(data[part][key]).startswith("<") for part, key in (("model", "path"), ("data", "name"))]
    again = python_call(data, *in_memory) if any(in_memory) else check_command(data)
    return [again] if in_memory[0] else [again, verify_command(data, source)]


def check_command(data: dict[str, Any]) -> str:
    """`robaudit check` with every flag that differs from its default; names from files are quoted for a shell."""
    model, images = data["model"], data["data"]
    own: list[Flag] = [
        ("dataset", images["name"], None),
        ("split", images["split"], "test"),
        ("arch", model["architecture"], None),
        ("normalise", model["normalisation"], None),
        ("key", model.get("key") or None, None),
    ]
    words = ["robaudit", "check", plain(model["path"])]
    for name, value, usual in own + _flags(data):
        if value is not None and value != usual:
            words += [f"--{name}", plain(value)]
    return shlex.join(words)


def python_call(data: dict[str, Any], model_in_memory: bool, images_in_memory: bool) -> str:
    """`robaudit.check` with every setting that differs from its default; what was in memory is only named."""
    model, images = data["model"], data["data"]
    parts = ["model" if model_in_memory else repr(plain(model["path"]))]
    parts += ["images", "labels"] if images_in_memory else [repr(plain(images["name"]))]
    own: list[Flag] = [("normalise", model["normalisation"], "none" if model_in_memory else None)]
    if not model_in_memory:
        own += [("arch", model["architecture"], None), ("key", model.get("key") or None, None)]
    parts += [
        f"{name.replace('-', '_')}={_literal(name, value)}"
        for name, value, usual in _flags(data) + own
        if value is not None and value != usual
    ]
    return f"robaudit.check({', '.join(parts)})"


def _literal(name: str, value: object) -> str:
    """A setting as Python writes it; a radius stays a fraction."""
    return (
        repr(value) if isinstance(value, int | float) else str(value) if name == "eps" else repr(plain(value))
    )


def _flags(data: dict[str, Any]) -> list[Flag]:
    """(name, value, default) of everything that the plan says."""
    plan, claim = data["plan"], data["claim"] or {}
    return [
        ("limit", plan["limit"], None),
        ("examples", plan["examples"], "auto"),
        ("attacks", _attacks(plan), ",".join(AuditPlan.attacks)),
        ("version", plan.get("version", "standard"), "standard"),
        *((name, _OTHERS[name] if name in plan.get("helpers", {}) else None, None) for name in HELPED),
        ("eps-curve", ",".join(f"{eps:.9g}" for eps in plan.get("curve", ())), ""),
        ("norm", data["threat"]["norm"], "Linf"),
        ("eps", eps_text(data["threat"]["eps"]), None),
        ("seed", data["seed"], 0),
        ("confidence", plan["confidence"], AuditPlan.confidence),
        ("precision", plan["precision"], "auto"),
        ("engine", plan["engine"], "robaudit"),
        ("eot", plan.get("eot", 1), 1),
        ("within", _points(plan.get("within")), None),
        ("estimate", plan.get("estimate"), None),
        *((name.replace("_", "-"), plan["budget"][name], getattr(Budget(), name)) for name in plan["budget"]),
        ("claim", claim.get("value"), None),
        ("claim-attack", claim.get("attack"), "autoattack"),
        ("square-bound", plan["bounds"]["pgd_square"], Bounds().pgd_square),
        ("autoattack-bound", plan["bounds"]["pgd_autoattack"], Bounds().pgd_autoattack),
    ]


def _points(share: float | None) -> str | None:
    """A share in points."""
    return None if share is None else f"{100 * share:.9g}"


def _attacks(plan: dict[str, Any]) -> str:
    """`--attacks` of the plan: of a cascade `autoattack` in place of its attacks."""
    names = [name for name in plan["attacks"] if name not in HELPED]
    version = plan.get("version", "standard")
    if plan.get("cascade") and version in VERSIONS:
        names = [*(name for name in names if name not in VERSIONS[version].attacks), "autoattack"]
    return ",".join(names)


def verify_command(data: dict[str, Any], source: str) -> str:
    """`robaudit verify` of the evidence file."""
    return shlex.join(["robaudit", "verify", plain(source or "EVIDENCE"), plain(data["model"]["path"])])
