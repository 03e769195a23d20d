"""Many audits as one static site: a table that sorts and filters, a chart of claimed against found, CSV and JSON."""

from __future__ import annotations

import csv
import errno
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robaudit.escaping import json_text, plain
from robaudit.files import write_text
from robaudit.reports.case import Case, Failure
from robaudit.reports.charts import Axis, Plot
from robaudit.reports.figures import PERCENT
from robaudit.reports.formatting import HEADLINES, eps_text, percent
from robaudit.reports.html import html
from robaudit.reports.templates import asset, content_policy, render

BOARD_SCHEMA = "robaudit-board/1"
#: Rows of the accuracy table that the board has as columns.
_COLUMNS = ("clean", "pgd10", "autoattack")
_FOUND = {"overestimated": "found-bad", "not-overestimated": "found-good", "inconclusive": "found-open"}
#: Columns of the CSV before the intervals.
_FIRST = (
    *("number", "model", "architecture", "digest", "data", "norm", "eps", "examples", "verdict"),
    *("reported", "stands"),
)
#: What a spreadsheet would take for a formula, at the start or behind what separates cells elsewhere.
_FORMULA = re.compile(r"(^|[;,|])(\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def write_board(
    items: Sequence[Case | Failure], folder: Path, title: str = "Robustness audits"
) -> list[Path]:
    """Write `index.html`, `board.csv`, `board.json` and a report for each audit below `folder`, which is made.

    Returns:
        the files written, the page first.

    Raises:
        OSError: the folder cannot be written.

    """
    rows = [_row(item, number) for number, item in enumerate(items, 1)]
    reports = folder / "reports"
    if reports.is_symlink():
        raise OSError(errno.ELOOP, "its folder reports is a link", str(reports))
    reports.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in ("index.html", "board.csv", "board.json")]
    for path, text in zip(written, (board_html(rows, title), board_csv(rows), board_json(rows)), strict=True):
        write_text(path, text)
    for row, item in zip(rows, items, strict=True):
        if isinstance(item, Case):
            written.append(folder / row["report"])
            write_text(written[-1], html(item))
    return written


def _row(item: Case | Failure, number: int) -> dict[str, Any]:
    """One audit as plain data: fractions, and None where there is nothing."""
    empty = dict.fromkeys((*_COLUMNS, "gap", "stands", "claim"))
    if isinstance(item, Failure):
        return {
            "number": number,
            "model": item.name,
            "verdict": "could-not-audit",
            "error": item.error,
            **empty,
        }
    data = item.data
    table = {row["name"]: row for row in data["table"]["rows"]}
    gaps = {row["name"]: row for row in data["table"]["gaps"]}
    return {
        "number": number,
        "model": item.name,
        "architecture": data["model"]["architecture"],
        "digest": data["model"].get("digest", ""),
        "data": f"{data['data']['name']} {data['data']['split']}",
        "norm": data["threat"]["norm"],
        "eps": data["threat"]["eps"],
        "examples": data["table"]["examples"],
        "verdict": data["verdict"]["outcome"],
        "finished": data["finished"],
        "reported": data["headline"]["reported"],
        "stands": data["headline"]["at_most"],
        **{name: _interval(table.get(name)) for name in _COLUMNS},
        "gap": _interval(gaps.get("pgd10-autoattack") or gaps.get("pgd10-square")),
        "claim": {name: data["claim"][name] for name in ("value", "attack", "outcome")}
        if data["claim"]
        else None,
        "report": f"reports/{number:03d}.html",
    }


def _interval(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return {name: found[name] for name in ("value", "low", "high", "n", "method")} if found else None


def board_json(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a JSON document."""
    return json_text({"schema": BOARD_SCHEMA, "audits": list(rows)})


def board_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a spreadsheet: one number a cell, no text that is a formula."""
    out = io.StringIO()
    parts = [(name, part) for name in (*_COLUMNS, "gap") for part in ("value", "low", "high", "method")]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*_FIRST, *(f"{name}_{part}" for name, part in parts), "claim", "claim_outcome", "report"]
    )
    for row in rows:
        claim = row["claim"] or {}
        writer.writerow(
            [
                *(_cell(row.get(name)) for name in _FIRST),
                *((row[name] or {}).get(part, "") for name, part in parts),
                claim.get("value", ""),
                claim.get("outcome", ""),
                row.get("report", ""),
            ]
        )
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    return _FORMULA.sub(r"\1'\2", plain(value))


def board_html(rows: Sequence[dict[str, Any]], title: str) -> str:
    """The page."""
    style, script = asset("page.css") + asset("board.css"), asset("board.js")
    return render(
        "board.html",
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        title=title,
        rows=[_shown(row) for row in rows],
        chart=_chart(rows),
        outcomes=sorted({row["verdict"] for row in rows}),
        datasets=sorted({row["data"] for row in rows if row.get("data")}),
        headlines=_HEADLINES,
    )


_HEADLINES = {name: text.capitalize() for name, text in HEADLINES.items()} | {
    "could-not-audit": "Could not audit"
}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    claim = row["claim"]
    absent = {"error": "", "report": "", "data": "", "eps": "", "architecture": "", "finished": True}
    return (
        absent
        | row
        | {
            "name": Path(row["model"]).name,
            "threat": f"{row['norm']} {eps_text(row['eps'])}" if "norm" in row else "",
            "cells": [_number(row[name]) for name in _COLUMNS] + [_number(row["gap"], "+")],
            "headline": _HEADLINES[row["verdict"]],
            "style": _FOUND.get(row["verdict"], "found-none"),
            "claimed": f"{100 * claim['value']:.1f} {claim['outcome']}" if claim else "",
            "sort_claim": claim["value"] if claim else "",
        }
    )


def _number(found: dict[str, Any] | None, sign: str = "") -> dict[str, Any]:
    if not found:
        return {"value": "", "interval": "", "sort": ""}
    value, interval = percent(found, sign)
    interval += ", estimated" if found["method"] == "estimated" else ""
    return {"value": value, "interval": interval, "sort": found["value"]}


def _chart(rows: Sequence[dict[str, Any]]) -> Markup | None:
    """What was claimed, or reported by PGD-10 where nothing was, against what at most stands up."""
    known = [row for row in rows if row["stands"] is not None]
    if not known:
        return None
    plot = Plot(
        "Claimed against found",
        Axis("claimed, else reported by PGD-10", 0, 1, PERCENT),
        Axis("at most stands up", 0, 1, PERCENT),
        420,
    )
    plot.line([0, 1], [0, 1], "bound")
    for row in known:
        claimed = row["claim"]["value"] if row["claim"] else row["reported"]
        plot.dot(
            claimed, row["stands"], _FOUND[row["verdict"]], f"{row['number']}: {Path(row['model']).name}"
        )
    return plot.svg()
