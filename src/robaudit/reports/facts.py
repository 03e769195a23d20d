"""What an audit was of and how it was made, as rows of a table."""

from __future__ import annotations

from typing import Any

from robaudit.reports.case import Case
from robaudit.reports.formatting import eps_text, label, where_text

_BUDGET = {
    "pgd_steps": "PGD steps",
    "apgd_steps": "APGD steps a run",
    "fab_steps": "FAB steps a target",
    "targets": "target classes",
    "square_queries": "Square's queries",
    "restarts": "restarts",
}
_BOUNDS = {"pgd_square": "bound, PGD-10 − Square", "pgd_autoattack": "bound, PGD-10 − AutoAttack"}
_REST = ("examples", "limit", "estimate", "confidence", "precision", "engine", "eot")


def plan_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What was asked for; settings of a later version by their own names."""
    plan, threat = data["plan"], data["threat"]
    return [
        ("threat model", f"{threat['norm']} eps {eps_text(threat['eps'])}"),
        ("attacks", ", ".join(label(name) for name in plan["attacks"])),
        *((_BUDGET.get(name, name), f"{value:,}") for name, value in plan["budget"].items()),
        *((_BOUNDS.get(name, name), f"{100 * value:g} points") for name, value in plan["bounds"].items()),
        *((name, str(plan[name])) for name in _REST if plan.get(name) is not None),
        *([("AutoAttack wanted within", f"{100 * plan['within']:g} points")] if plan.get("within") else []),
        ("seed", str(data["seed"])),
    ]


def about(case: Case) -> list[tuple[str, str]]:
    """Model, data, evidence, machine and versions."""
    data = case.data
    model, images, cost = data["model"], data["data"], data["cost"]
    return [
        ("model", f"digest {model.get('digest', '')}, file sha256 {model['sha256']}"),
        ("read as", f"{model['architecture']}, normalisation {model['normalisation']}"),
        ("data", f"{images['name']} {images['split']}, sha256 {images['sha256']}"),
        ("evidence", f"{case.source}, sha256 {case.digest}"),
        (
            "device",
            f"{where_text(cost)}, {cost['seconds']:.1f} s, {cost['forwards']:,} forward and "
            f"{cost['backwards']:,} backward passes",
        ),
        ("versions", ", ".join(f"{name} {value}" for name, value in data["versions"].items())),
        *((f"note {place}", note) for place, note in enumerate(model.get("notes") or [], 1)),
    ]
