"""What `collapse` found, as a table."""

from __future__ import annotations

from typing import Any

from gpu_stages.calls import table

_NAMES = {"unstable": "TRADES", "paper": "from the last healthy on, --heal=paper", "auto": "likewise, --heal"}
_HEAD = (
    "run",
    "epochs",
    "masked",
    "clean",
    "PGD-10",
    "robust",
    "FOSC",
    "normalised",
    "SGCS",
    "PGD-10 − Square",
    "s an epoch",
)


def collapse_table(parts: dict[str, Any]) -> str:
    """Two lines a run: before it was masked, and at the end; and what follows from them."""
    rows, sentences = [], []
    for name, title in _NAMES.items():
        part = parts.get(name)
        if not part or not part["rows"]:
            rows.append([title, "open", *[""] * 9])
            if part:
                sentences.append(f"{title}: no epoch was finished; pass more --minutes")
            continue
        log = part["rows"]
        masked = [row["epoch"] for row in log if row["masked"]]
        if name == "unstable" and part.get("healthy_epoch"):
            rows.append([f"{title}, the last healthy epoch", *_cells(log[:-1], masked)])
        rows.append([title, *_cells(log, masked)])
        sentences.append(f"{title}: {_sentence(name, part, masked)}")
    on = ", ".join(sorted({part["on"] for part in parts.values() if "on" in part}))
    return "\n\n".join([f"collapse, {on or 'nothing done yet'}", table(_HEAD, rows), "\n".join(sentences)])


def _cells(log: list[dict[str, Any]], masked: list[int]) -> list[str]:
    last = log[-1]
    gap = last["black_box_gap"]
    before = [epoch for epoch in masked if epoch <= last["epoch"]]
    shown = ", ".join(map(str, before[:6])) + (" …" if len(before) > 6 else "")
    return [
        str(last["epoch"]),
        shown or "none",
        *(f"{100 * last[name]:.1f}" for name in ("clean", "pgd10", "robust")),
        *(f"{last[name]:.3g}" for name in ("fosc", "fosc_normalised", "sgcs")),
        "" if gap is None else f"{100 * gap:.1f}",
        f"{sum(row['seconds'] for row in log) / len(log):.1f}",
    ]


def _sentence(name: str, part: dict[str, Any], masked: list[int]) -> str:
    log = part["rows"]
    if name == "unstable":
        if part.get("masked_epoch"):
            real = "confirmed masked" if masked else "taken for masked (a dry run)"
            return f"epoch {part['masked_epoch']} is {real}: {log[-1]['reason'] or 'no reason given'}"
        return f"no epoch masked in {len(log)}" + ("" if part["ended"] else "; a later call resumes it")
    if not part["ended"]:
        return f"{len(log)} epochs so far; a later call resumes it"
    rolled_back = sum(bool(row["rolled_back"]) for row in log)
    ends = "its last epoch is masked" if log[-1]["masked"] else "its last epoch is not masked"
    treated = sum(row["healing"] > 0 for row in log)
    return f"{len(masked)} of {len(log)} epochs masked, {rolled_back} rolled back, {treated} treated; {ends}"
