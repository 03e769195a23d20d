"""The commands that repeat an audit, from its evidence."""

from __future__ import annotations

import shlex
from typing import Any

from robaudit.plan import AuditPlan, Bounds, Budget
from robaudit.reports.words import eps_text, plain


def check_command(data: dict[str, Any]) -> str:
    """`robaudit check` with every flag that differs from its default; names from files are quoted for a shell."""
    plan, model, images = data["plan"], data["model"], data["data"]
    flags: list[tuple[str, object, object]] = [
        ("dataset", images["name"], None),
        ("split", images["split"], "test"),
        ("limit", plan["limit"], None),
        ("examples", plan["examples"], "auto"),
        ("attacks", ",".join(plan["attacks"]), ",".join(AuditPlan.attacks)),
        ("norm", data["threat"]["norm"], "Linf"),
        ("eps", eps_text(data["threat"]["eps"]), None),
        ("seed", data["seed"], 0),
        ("confidence", plan["confidence"], AuditPlan.confidence),
        ("arch", model["architecture"], None),
        ("normalise", model["normalisation"], None),
        ("precision", plan["precision"], "auto"),
        ("engine", plan["engine"], "robaudit"),
        ("eot", plan.get("eot", 1), 1),
        *((name.replace("_", "-"), plan["budget"][name], getattr(Budget(), name)) for name in plan["budget"]),
        ("square-bound", plan["bounds"]["pgd_square"], Bounds().pgd_square),
        ("autoattack-bound", plan["bounds"]["pgd_autoattack"], Bounds().pgd_autoattack),
    ]
    words = ["robaudit", "check", plain(model["path"])]
    for name, value, usual in flags:
        if value is not None and value != usual:
            words += [f"--{name}", plain(value)]
    return shlex.join(words)


def verify_command(data: dict[str, Any], source: str) -> str:
    """`robaudit verify` of the evidence file."""
    return shlex.join(["robaudit", "verify", plain(source or "EVIDENCE"), plain(data["model"]["path"])])
