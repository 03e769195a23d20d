"""Several checkpoints in one table of Markdown, above a section for each: a step summary."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.plan import title
from robaudit.reports.case import Case, Failure
from robaudit.reports.formatting import HEADLINES, notes, percent
from robaudit.reports.markdown import code, escape, markdown

#: What a policy makes of a checkpoint, or its verdict where there is no policy.
_SIGNS = {
    "pass": "✅",
    "fail": "❌",
    "inconclusive": "❔",
    "waived": "➖",
    "overestimated": "❌",
    "not-overestimated": "✅",
}
_COLUMNS = ("clean", "pgd10", "square", "autoattack")


def markdown_summary(cases: Sequence[Case | Failure]) -> str:
    """The table, where there are several checkpoints or a policy, and their sections."""
    judged = any(isinstance(item, Case) and item.standing for item in cases)
    return f"{overview(cases)}\n{markdown(cases)}" if judged or len(cases) > 1 else markdown(cases)


def overview(cases: Sequence[Case | Failure]) -> str:
    """A row a checkpoint; the accuracies of a row, in %, are of the same examples."""
    head = ["", "checkpoint", "data", "verdict", *map(title, _COLUMNS), "examples"]
    rows = [f"| {' | '.join(_cells(item))} |" for item in cases]
    return "\n".join([f"|{' | '.join(head)} |", f"|{'---|' * 4}{'---:|' * 5}", *rows, ""])


def _cells(item: Case | Failure) -> list[str]:
    if isinstance(item, Failure):
        return ["❌", code(item.name), "", "could not audit", *[""] * len(_COLUMNS), ""]
    data = item.data
    outcome = data["verdict"]["outcome"]
    rows = {row["name"]: row for row in data["table"]["rows"] if not row.get("after")}
    return [
        f"{_SIGNS[item.standing.partition(' ')[0] or outcome]} {escape(item.standing)}".rstrip(),
        code(item.name),
        f"{code(data['data']['name'])} {escape(data['data']['split'])}",
        HEADLINES[outcome].lower(),
        *(percent(rows[name])[0] + notes(rows[name]) if name in rows else "" for name in _COLUMNS),
        str(data["table"]["examples"]),
    ]
