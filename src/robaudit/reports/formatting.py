"""Words, numbers and strangers' text, alike in every report."""

from __future__ import annotations

from typing import Any

from robaudit.escaping import plain

LABELS = {
    "clean": "Clean",
    "pgd10": "PGD-10",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-t": "APGD-T",
    "fab-t": "FAB-T",
    "square": "Square",
    "autoattack": "AutoAttack",
    "pgd10-square": "PGD-10 − Square",
    "pgd10-autoattack": "PGD-10 − AutoAttack",
}
HEADLINES = {
    "overestimated": "OVERESTIMATED",
    "not-overestimated": "NOTHING FOUND",
    "inconclusive": "INCONCLUSIVE",
}


def label(name: str) -> str:
    """The name of an attack or a gap as people write it; one of a later version as it stands."""
    return LABELS.get(name, plain(name))


def eps_text(eps: float) -> str:
    """A radius as 8/255 where it is one, else as a decimal number."""
    steps = eps * 255
    return f"{round(steps)}/255" if eps < 0.25 and abs(steps - round(steps)) < 1e-6 else f"{eps:g}"


def percent(item: dict[str, float], sign: str = "") -> tuple[str, str]:
    """An interval in points: its value, and its limits."""
    value, low, high = (100 * item[key] for key in ("value", "low", "high"))
    return f"{value:{sign}.1f}", f"{low:{sign}.1f} … {high:{sign}.1f}"


def where_text(cost: dict[str, Any]) -> str:
    """The device of an audit, and what its attacks searched in, which earlier reports do not tell."""
    precision = cost.get("precision")
    return plain(cost["device"]) + (f", searched in {plain(precision)}" if precision else "")


def claim_text(claim: dict[str, Any]) -> str:
    """One sentence on what became of a claim."""
    text = f"The claim of {100 * claim['value']:.2f} % under {label(claim['attack'])} is {claim['outcome']}"
    if not claim["measured"]:
        return text + "."
    value, interval = percent(claim["measured"])
    return f"{text}: measured {value} % ({interval})."


def bound_of(data: dict[str, Any], gap: str) -> float:
    """The bound that a gap of a summary is held against."""
    field = {"pgd10-square": "pgd_square", "pgd10-autoattack": "pgd_autoattack"}[gap]
    return float(data["plan"]["bounds"][field])
