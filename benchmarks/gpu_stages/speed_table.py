"""What `speed` found, as a table."""

from __future__ import annotations

from typing import Any

from gpu_stages import rates
from gpu_stages.calls import table

#: What is wanted on a large GPU: the share of the peak, times as fast as the reference, seconds of the whole test set,
#: seconds of an epoch, times as fast as the published loop.
SHARE, REFERENCE, WHOLE, EPOCH, LOOP = 0.4, 5.0, 90.0, 8.0, 4.0
_ALL = 10_000
Line = tuple[str, str, str]


def speed_table(device: str, parts: dict[str, Any]) -> str:
    """A line for each claim; `open` where it is not measured."""
    rows = [_peak(name, parts.get(f"peak {name}")) for name in rates.SEARCHES]
    rows.append(_model(parts.get("model")))
    rows += _autoattack(parts)
    rows += _steps(parts)
    return f"speed, {device}\n\n" + table(("what", "measured", "wanted"), rows)


def _peak(name: str, found: dict[str, Any] | None) -> Line:
    what, wanted = f"search in {name}, of a matrix product in the same", f"≥ {100 * SHARE:.0f} %"
    if found is None:
        return what, "open", wanted
    share = 100 * found["reached"] / found["peak"]
    cell = f"{found['reached']:.3g} of {found['peak']:.3g} TFLOP/s, {share:.0f} %"
    return what, f"{cell} ({found['arch']}, APGD-CE, {found['examples']} examples)", wanted


def _model(found: dict[str, Any] | None) -> Line:
    if found is None:
        return "the robust model", "open", ""
    if "model" in found:
        return "the robust model", found["model"], ""
    cell = f"{found['epochs']} short epochs of TRADES: clean {100 * found['clean']:.1f} %, "
    return "the robust model", f"{cell}PGD-10 {100 * found['pgd10']:.1f} %", ""


def _autoattack(parts: dict[str, Any]) -> list[Line]:
    rows: list[Line] = []
    ours, theirs, more = (parts.get(name) for name in ("ours", "reference", "ours on more"))
    for name, found in (("ours", ours), ("pyautoattack", theirs)):
        if found is None or not found.get("done", True):
            rows.append((f"AutoAttack, {name}", "open" if found is None else f"left out: {found['why']}", ""))
            continue
        cell = f"{found['seconds']:.1f} s, {found['robust']} of {found['attacked']} robust, "
        cell += f"{found['forwards']:,} passes forwards, {found['backwards']:,} back"
        rows.append((f"AutoAttack, {found['tool']}", cell, ""))
    cell = "open"
    if ours and theirs and "seconds" in theirs:
        cell = f"{theirs['seconds'] / ours['seconds']:.1f} times"
    rows.append(("faster than pyautoattack, the same examples", cell, f"≥ {REFERENCE:g} times"))
    found = more or ours
    cell = "open"
    if found:
        scale = _ALL / found["images"]
        passes = (found["forwards"] + found["backwards"]) * scale
        cell = f"{found['seconds'] * scale:.0f} s: {found['seconds']:.1f} s on {found['images']:,} images, "
        cell += "all of them" if scale == 1 else f"extrapolated by passes to {passes:,.0f}"
    rows.append((f"ours on {_ALL:,} images", cell, f"< {WHOLE:.0f} s"))
    return rows


def _steps(parts: dict[str, Any]) -> list[Line]:
    rows: list[Line] = []
    known = {form: parts.get(f"step {form}") for form in rates.forms()}
    best = min(
        (
            found["seconds"]
            for form, found in known.items()
            if form not in ("published loop", "ART") and found
        ),
        default=None,
    )
    for form, found in known.items():
        what = f"a step of TRADES, {form}"
        if found is None or not found["done"]:
            rows.append((what, "open" if found is None else f"left out: {found['why']}", ""))
            continue
        epoch = found["seconds"] * (rates.EPOCH // found["batch"])
        cell = (
            f"{1000 * found['seconds']:.1f} ms, an epoch in {epoch:.1f} s, {found['reached']:.3g} TFLOP/s, "
        )
        cell += f"the first step {found['first']:.1f} s"
        rows.append((what, cell, f"an epoch < {EPOCH:g} s" if form == "auto" else ""))
    loop = known["published loop"]
    cell = f"{loop['seconds'] / best:.1f} times" if loop and best else "open"
    rows.append(("our fastest, faster than the published loop", cell, f"≥ {LOOP:g} times"))
    return rows
