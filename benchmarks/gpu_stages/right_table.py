"""What `right` found, as a table."""

from __future__ import annotations

from typing import Any

from gpu_stages.calls import table

#: What is wanted: the least share of equal outcomes, the largest relative difference, the most points lost.
EQUAL, METRICS, LOST = 0.99, 0.01, 0.2
_OPEN = "open"


def right_table(names: list[str], parts: dict[str, Any], minutes: float) -> str:
    """A line for each claim; `open` where it is not measured yet."""
    rows: list[tuple[str, str, str, str]] = []
    for name in names:
        rows += _of_case(name, parts)
    rows += [_memory(parts.get("memory")), _landscape(parts.get("landscape"))]
    on = next((part["on"] for part in parts.values() if isinstance(part, dict) and "on" in part), "no device")
    head = f"right, {on} against the CPU, at most {minutes:g} minutes a call\n\n"
    return head + table(("what", "measured", "wanted", "met"), rows)


def _of_case(name: str, parts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    found = parts.get(f"{name} device")
    if found is None:
        made = f"CPU's evidence: {'there' if f'{name} cpu' in parts else _OPEN}"
        rows.append((f"{name}: outcomes, witnesses, metrics", made, "", _OPEN))
    else:
        for attack, share in found["equal"].items():
            rows.append(
                (
                    f"{name}: equal outcomes, {attack}",
                    _percent(share),
                    f"≥ {_percent(EQUAL)}",
                    _met(share >= EQUAL),
                )
            )
        for side, where in (("cpu", "the CPU's on the device"), ("device", "the device's on the CPU")):
            failed, count = len(found[f"{side}_failures"]), found[f"{side}_witnesses"]
            rows.append(
                (f"{name}: witnesses, {where}", f"{count - failed} of {count} hold", "all", _met(not failed))
            )
        for metric, (here, there) in found["metrics"].items():
            off = abs(there - here) / max(abs(here), 1e-12)
            cell = f"{here:.4g} and {there:.4g}, {100 * off:.2f} % apart"
            rows.append((f"{name}: {metric}", cell, f"≤ {_percent(METRICS)}", _met(off <= METRICS)))
    for precision in ("tf32", "bf16", "fp16"):
        searched = parts.get(f"{name} {precision}")
        if found is None or searched is None:
            rows.append((f"{name}: points lost by a {precision} search", "", f"≤ {LOST}", _OPEN))
            continue
        lost = 100 * (searched["autoattack"] - found["autoattack"])
        cell = f"{lost:+.2f}, of {searched['examples']} examples"
        rows.append((f"{name}: points lost by a {precision} search", cell, f"≤ {LOST}", _met(lost <= LOST)))
    return rows


def _memory(found: dict[str, Any] | None) -> tuple[str, str, str, str]:
    what = "memory that runs out"
    if found is None or not found["done"]:
        return what, "" if found is None else f"not done: {found['why']}", "the same outcomes", _OPEN
    cell = f"{found['ran_out']} times, {_percent(found['equal'])} of outcomes equal"
    return what, cell, "the same outcomes", _met(found["ran_out"] > 0 and found["equal"] >= EQUAL)


def _landscape(found: dict[str, Any] | None) -> tuple[str, str, str, str]:
    if found is None:
        return "landscape", "", "seconds", _OPEN
    what = f"landscape {found['points']} × {found['points']} of {found['images']} images, {found['arch']}"
    first, second = found["seconds"]
    return what, f"{first:.1f} s, then {second:.1f} s", "seconds", ""


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _met(is_met: bool) -> str:
    return "yes" if is_met else "NO"
