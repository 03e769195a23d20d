"""A sweep as one page: every cell of the grid with its share of unstable runs, the paper's count, and its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from robaudit.reports.charts import bars
from robaudit.reports.templates import asset, content_policy, render


@dataclass(frozen=True)
class SweptRun:
    """One run: what it is called, its page as a relative path (empty where there is none), its gap in points."""

    name: str
    page: str
    gap: str


@dataclass(frozen=True)
class SweptCell:
    """One cell of the grid.

    Attributes:
        values: of the grid's flags.
        unstable, runs: counts of finished runs.
        low, high: the interval of their share.
        gap: the mean gap in points, as text.
        paper: what the paper found, as text.
        links: the runs.

    """

    values: tuple[str, ...]
    unstable: int
    runs: int
    low: float
    high: float
    gap: str
    paper: str
    links: tuple[SweptRun, ...]


def sweep_page(name: str, flags: Sequence[str], cells: Sequence[SweptCell], bound: float) -> str:
    """The page; `bound` is the gap from which a run is unstable."""
    style = asset("page.css")
    filled = [cell for cell in cells if cell.runs]
    rows = [
        (", ".join(cell.values), cell.unstable / cell.runs, cell.low, cell.high, "bar a-pgd10")
        for cell in filled
    ]
    return render(
        "sweep.html",
        policy=content_policy(style),
        style=Markup(style),
        name=name,
        flags=flags,
        cells=cells,
        bound=f"{100 * bound:g}",
        chart=bars("Share of unstable runs, with intervals", rows) if rows else None,
        quote=quote,
    )
