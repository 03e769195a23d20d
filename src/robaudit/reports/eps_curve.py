"""The curve of robust accuracy over the radius, in every report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.table import Table

from robaudit.evidence import Evidence
from robaudit.reports.charts import Axis, Plot
from robaudit.reports.figures import colour_of
from robaudit.reports.formatting import eps_text, percent
from robaudit.stats import Interval
from robaudit.verdict import curve

_PERCENT = tuple((k / 5, f"{20 * k} %") for k in range(6))
#: What each line is, and the attack whose colour it has.
LINES = {"pgd10": ("PGD-10", "pgd10"), "worst": ("worst case of few passes", "autoattack")}


def eps_curve(evidence: Evidence) -> list[dict[str, Any]]:
    """JSON-ready: `eps`, and of `pgd10` and `worst` each `value`, `low`, `high` and `n`."""

    def row(found: Interval) -> dict[str, float | int]:
        return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}

    return [{"eps": item.eps, "pgd10": row(item.pgd10), "worst": row(item.worst)} for item in curve(evidence)]


def curve_table(points: list[dict[str, Any]]) -> Table:
    """For a terminal."""
    table = Table(box=None, pad_edge=False)
    table.add_column("eps", justify="right")
    for title, _ in LINES.values():
        table.add_column(f"{title}, %", justify="right")
        table.add_column("interval", justify="right")
    table.add_column("examples", justify="right")
    for point in points:
        cells = [cell for name in LINES for cell in percent(point[name])]
        table.add_row(eps_text(point["eps"]), *cells, str(point["pgd10"]["n"]))
    return table


def curve_chart(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart and the names of its lines, for a page; an empty chart where there is no curve."""
    if not points:
        return {"chart": Markup(), "names": []}
    eps = np.array([math.log2(point["eps"]) for point in points])
    low, high = float(eps[0]), float(eps[-1]) if len(points) > 1 else float(eps[0]) + 1
    ticks = tuple((float(where), eps_text(point["eps"])) for where, point in zip(eps, points, strict=True))
    plot = Plot("Accuracy over the radius", Axis("eps", low, high, ticks), Axis("", 0, 1, _PERCENT))
    for name, (_, style) in LINES.items():
        limits = [np.array([point[name][part] for point in points]) for part in ("low", "high", "value")]
        plot.band(eps, limits[0], limits[1], "band")
        plot.line(eps, limits[2], f"curve {colour_of(style)}")
    return {"chart": plot.svg(), "names": [(colour_of(style), title) for title, style in LINES.values()]}
