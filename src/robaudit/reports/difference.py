"""Two models side by side: for a terminal, as Markdown, as data."""

from __future__ import annotations

import dataclasses

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from robaudit.escaping import json_text, plain
from robaudit.reports.formatting import percent
from robaudit.reports.markdown import code, escape
from robaudit.verdict import Difference

_TITLES = {"better": "BETTER", "not-worse": "NOT WORSE", "worse": "WORSE", "inconclusive": "INCONCLUSIVE"}
_COLOURS = {"better": "green", "not-worse": "green", "worse": "red", "inconclusive": "yellow"}
_SHOWN_EXAMPLES = 12


def difference_terminal(found: Difference) -> RenderableType:
    """The outcome, the losses with their intervals, and what else changed."""
    head = Text()
    head.append(_TITLES[found.outcome], style=f"bold {_COLOURS[found.outcome]}")
    head.append(f"   {plain(found.summary)}\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("change of accuracy")
    for title in ("points", "interval", "examples"):
        table.add_column(title, justify="right")
    for name, value, interval, count in _rows(found):
        table.add_row(name, value, interval, count)
    tail = Text("\n")
    for line in _lines(found):
        tail.append(plain(line) + "\n")
    return Group(head, table, tail)


def difference_markdown(found: Difference) -> str:
    """The same for a pull request."""
    lines = [f"## {_TITLES[found.outcome]}", "", escape(found.summary), ""]
    lines += ["| change of accuracy | points | interval | examples |", "|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(found)]
    return "\n".join([*lines, "", *[f"- {code(line)}" for line in _lines(found)], ""])


def difference_json(found: Difference) -> str:
    """The same as data; losses are fractions, positive where the new model is worse."""
    return json_text({"schema": "robaudit-compare/1", **dataclasses.asdict(found)})


def _rows(found: Difference) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, item in found.losses.items():
        change = {"value": -item.value + 0.0, "low": -item.high + 0.0, "high": -item.low + 0.0}
        value, interval = percent(change, "+")
        rows.append((plain(found.titles[name]), value, interval, str(item.n)))
    return rows


def _lines(found: Difference) -> list[str]:
    lines = [f"{name}: {old} → {new}" for name, old, new in found.changed]
    for title, codes in (("new findings", found.appeared), ("findings gone", found.gone)):
        if codes:
            lines.append(f"{title}: {', '.join(codes)}")
    for title, ids in (("broken only now", found.broken), ("fixed", found.fixed)):
        if ids:
            more = f" and {len(ids) - _SHOWN_EXAMPLES} more" if len(ids) > _SHOWN_EXAMPLES else ""
            lines.append(
                f"{title} under {found.titles[found.attack]}: {', '.join(map(str, ids[:_SHOWN_EXAMPLES]))}{more}"
            )
    return lines
