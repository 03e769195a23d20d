"""Words, numbers and strangers' text, alike in every report."""

from __future__ import annotations

from typing import Any

from robaudit.escaping import plain
from robaudit.plan import eps_text as eps_text  # noqa: PLC0414  reports take it from here
from robaudit.plan import title
from robaudit.verdict import GAPS
from robaudit.wording import examples

HEADLINES = {
    "overestimated": "OVERESTIMATED",
    "not-overestimated": "NOTHING FOUND",
    "inconclusive": "INCONCLUSIVE",
}

#: How a note begins that says what to doubt.
WARNING = "warning: "


def label(name: str) -> str:
    """The name of an attack or a gap as people write it; one of a later version as it stands."""
    return plain(title(name))


def percent(item: dict[str, float], sign: str = "") -> tuple[str, str]:
    """An interval in points: its value, and its limits."""
    value, low, high = (100 * item[key] for key in ("value", "low", "high"))
    return f"{value:{sign}.1f}", f"{low:{sign}.1f} … {high:{sign}.1f}"


def where_text(cost: dict[str, Any]) -> str:
    """The device of an audit, and what its attacks searched in, which earlier reports do not tell."""
    precision = cost.get("precision")
    return plain(cost["device"]) + (f", searched in {plain(precision)}" if precision else "")


def warnings_of(data: dict[str, Any]) -> list[str]:
    """What makes the verdict doubtful though nothing in it says so: it belongs beside the verdict."""
    notes = (plain(note) for note in data["model"].get("notes") or [])
    found = [note.removeprefix(WARNING) for note in notes if note.startswith(WARNING)]
    reduced = [
        label(name) for name, item in data["accuracy"].items() if item["reduced"] and name != "autoattack"
    ]
    if reduced:
        found.append(
            f"Reduced budgets: {', '.join(reduced)} got less than the standard one, and so say less."
        )
    return found


def asked_texts(data: dict[str, Any]) -> list[str]:
    """Sentences on what became of what was asked for besides: the claim, the policy's minimum, the precision."""
    found = []
    if data["claim"]:
        found.append(claim_text(data["claim"]))
    if data["minimum"]:
        found.append(minimum_text(data["minimum"]))
    return [*found, *filter(None, [precision_text(data), part_text(data)])]


def precision_text(data: dict[str, Any]) -> str:
    """One sentence where AutoAttack's number came out other than as precisely as it was asked for; else nothing."""
    within, whole = data["plan"]["within"], data["accuracy"].get("autoattack")
    if not (within and whole and data["finished"]):
        return ""
    asked = f"AutoAttack's number was asked for within {100 * within:g} point{'s' * (within != 0.01)}"
    every = f"all {whole['n']} examples were" if whole["n"] > 1 else "the one example was"
    if whole["method"] != "counted":
        vague = whole["high"] - whole["low"] > 2 * within + 1e-9
        return f"{asked}; the audit ended before, when the policy's minimum was decided." if vague else ""
    if not data["accuracy"]["clean"]["high"]:
        return f"{asked}; no example is classified correctly, so there was none to attack."
    if whole["n"] < data["data"]["audited"]:
        return f"{asked}; only {whole['n']} of {data['data']['audited']} examples are attacked to the end."
    if whole["low"] < whole["high"]:
        return f"{asked}; {every} attacked, and those that gave no usable answer leave it as open as its interval."
    return f"{asked}; {every} attacked, so it is exact for {'these' if whole['n'] > 1 else 'this one'}."


def part_text(data: dict[str, Any]) -> str:
    """One sentence where a sample was asked for, and taken of a part of the split only; else nothing."""
    audited, total = data["data"]["audited"], data["data"]["total"]
    if not (data["plan"]["within"] and data["finished"] and audited < total):
        return ""
    asked = "; what was claimed or demanded is held against all of it" * bool(
        data["claim"] or data["minimum"]
    )
    which = "this one example" if audited == 1 else f"these {audited} examples"
    return f"The table's intervals are about {which}, not all {total} of the split{asked}."


def claim_text(claim: dict[str, Any]) -> str:
    """One sentence on what became of a claim."""
    text = f"The claim of {100 * claim['value']:.2f} % under {claim['title']} is {claim['outcome']}"
    return text + _measured(claim)


def minimum_text(minimum: dict[str, Any]) -> str:
    """One sentence on whether what a policy demands is there."""
    word = {"refuted": "missed", "consistent": "met", "inconclusive": "open"}[minimum["outcome"]]
    text = f"The policy's minimum of {100 * minimum['value']:g} % under {minimum['title']} is {word}"
    return text + _measured(minimum)


def _measured(asked: dict[str, Any]) -> str:
    if not asked["measured"]:
        return "."
    value, interval = percent(asked["measured"])
    return f": measured {value} % ({interval}) on {examples(asked['measured']['n'])}."


def bound_of(data: dict[str, Any], gap: str) -> float:
    """The bound that a gap of a summary is held against."""
    return float(data["plan"]["bounds"][GAPS[gap][2]])


def notes(row: dict[str, Any]) -> str:
    """What must stand beside a number of the table where its title does not: ` (reduced)`, ` (estimated)`."""
    return "".join(note for note in (" (reduced)", " (estimated)") if note in row["title"])


def table_caption(data: dict[str, Any]) -> str:
    """What the rows of the table are of."""
    if data["plan"].get("cascade"):
        return (
            f"On the same {examples(data['table']['examples'])}, in %; 'then' is what stands after the attacks before "
            "it, a cascade, which leaves a broken example alone."
        )
    text = f"Each attack alone, on the same {examples(data['table']['examples'])}, in %"
    sampled = any(row["method"] == "estimated" for row in data["table"]["rows"])
    text += "; estimated from a random sample of them where it says so" if sampled else ""
    return text + ("; AutoAttack is the worst case of its four." if "autoattack" in data["accuracy"] else ".")
