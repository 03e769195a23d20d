"""The numbers that every report shows, side by side only where they are of the same examples."""

from __future__ import annotations

from typing import Any

from robaudit.evidence import Evidence
from robaudit.stats import Interval
from robaudit.verdict import GAPS, accuracy, estimate, gap, gaps, never_broken, rows, shared, standing
from robaudit.wording import examples


def side_by_side(evidence: Evidence) -> dict[str, Any]:
    """The table, JSON-ready: fractions, intervals two-sided at the plan's confidence.

    `rows` and `gaps` are of the same `examples`, with `within` of all audited ones as soon as AutoAttack's number is
    known of these; `beyond` are the rows and gaps that are known of others, each of its own `n`. Each has `name`,
    `title`, `value`, `low`, `high`, `n` and `method` (`counted`, or `estimated` from a sample); a gap also its `bound`,
    a row of a cascade the attacks that it comes `after`.
    """
    names, between = rows(evidence), gaps(evidence)
    table: dict[str, Interval | None]
    own: dict[str, Interval | None] = {name: accuracy(evidence, name) for name in names}
    own.update((name, gap(evidence, name)) for name in between)
    if estimate(evidence):
        count = len(evidence)
        table = {name: item for name, item in own.items() if item and item.n == count}
        beyond = [name for name in own if not table.get(name)]
    else:
        among = shared(evidence)
        count = int(among.sum())
        table = {name: accuracy(evidence, name, among) for name in names}
        table.update((name, gap(evidence, name, among)) for name in between)
        beyond = [name for name, item in own.items() if item and item.n > count]

    def shown(chosen: list[str], values: dict[str, Interval | None]) -> list[dict[str, Any]]:
        return [_row(evidence, name, item) for name in chosen if (item := values.get(name))]

    return {
        "examples": count,
        "rows": shown(names, table),
        "gaps": shown(between, table),
        "beyond": shown(beyond, own),
    }


def _row(evidence: Evidence, name: str, found: Interval) -> dict[str, Any]:
    plan = evidence.header.plan
    row: dict[str, Any] = {
        "name": name,
        "title": title_of(evidence, name) + (" (estimated)" if found.method == "estimated" else ""),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "method": found.method,
    }
    if before := plan.before(name):
        row |= {"title": f"then {row['title']}", "after": list(before)}
    return row | {"bound": getattr(plan.bounds, GAPS[name][2])} if name in GAPS else row


def title_of(evidence: Evidence, name: str) -> str:
    """A row or a gap as people write it; one of less than the standard budget says so."""
    return evidence.header.plan.title(name, classes_of(evidence))


def classes_of(evidence: Evidence) -> int:
    """The classes of the data, or more than any budget has targets where evidence does not say."""
    return int(evidence.header.data.get("classes", 1 << 30))


def standing_share(evidence: Evidence) -> dict[str, float | int]:
    """`reported`: PGD-10's robust accuracy; `at_most`: what no witness of any attack breaks, of the same `examples`."""
    reported, unbroken = standing(evidence)
    count = len(reported)
    return {
        "reported": float(reported.mean()) if count else 0.0,
        "at_most": float(unbroken.mean()) if count else 0.0,
        "examples": count,
    }


def headline(evidence: Evidence) -> str:
    """The first sentence of every report: what the usual test says, and what at most stands up to all attacks."""
    share = standing_share(evidence)
    reported, most, count = 100 * share["reported"], 100 * share["at_most"], share["examples"]
    of = f"({examples(count)})"
    pgd, others = title_of(evidence, "pgd10"), [name for name in evidence.attacks if name != "pgd10"]
    if not count:
        return "Nothing is known yet."
    if "pgd10" not in evidence.attacks:
        return f"At most {most:.1f} % stands up {of}."
    if not others:
        return f"{pgd} reports {reported:.1f} % {of}; no other attack was run."
    found = accuracy(evidence, "autoattack") if evidence.header.plan.within else None
    if found and found.method == "estimated":
        low, high = (100 * limit for limit in _standing_limits(evidence, found))
        return f"{pgd} reports {reported:.1f} %; {low:.1f} to {high:.1f} % stand up ({examples(found.n)})."
    return f"{pgd} reports {reported:.1f} %; at most {most:.1f} % stands up {of}."


def _standing_limits(evidence: Evidence, autoattack: Interval) -> tuple[float, float]:
    """What of all audited examples stands up to every attack, at least and at most, by AutoAttack's estimated number.

    What only others broke, PGD-10 say, counts as surviving AutoAttack there, or as unknown.
    """
    most = float(never_broken(evidence).mean())
    others = float((evidence.correct & ~evidence.broken("autoattack")).mean()) - most
    high = min(autoattack.high, most)
    return max(min(autoattack.low - others, high), 0.0), high


def beyond_text(data: dict[str, Any]) -> str:
    """What is known of other examples than the table's, as one sentence; empty where nothing is."""
    parts, rows = [], data["table"]["beyond"]
    for row in rows:
        sign, unit = ("+", "points") if "bound" in row else ("", "%")
        value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
        parts.append(f"{row['title']} {value} {unit} ({low} … {high}) of {row['n']}")
    other = "more" if all(row["n"] > data["table"]["examples"] for row in rows) else "fewer"
    return f"Of {other} examples: {'; '.join(parts)}." if parts else ""
