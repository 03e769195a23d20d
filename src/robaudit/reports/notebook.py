"""The report as a piece of a notebook: the verdict and the numbers, with styles of its own and no script."""

from __future__ import annotations

from robaudit.evidence import Evidence
from robaudit.reports.formatting import HEADLINES, asked_texts, eps_text, percent, warnings_of
from robaudit.reports.shared_table import beyond_text
from robaudit.reports.summary import summary
from robaudit.reports.templates import render
from robaudit.verdict import Verdict

_COLOURS = {"overestimated": "#c62828", "not-overestimated": "#2e7d32", "inconclusive": "#b26a00"}


def notebook(evidence: Evidence, verdict: Verdict) -> str:
    """A fragment of HTML."""
    data = summary(evidence, verdict)
    judged = data["verdict"]
    rows = [(item["title"], *percent(item), str(item["n"])) for item in data["table"]["rows"]]
    rows += [
        (item["title"], *percent(item, "+"), f"{item['n']}, bound {100 * item['bound']:g}")
        for item in data["table"]["gaps"]
    ]
    return render(
        "notebook.html",
        colour=_COLOURS[judged["outcome"]],
        headline=HEADLINES[judged["outcome"]],
        sentence=data["headline"]["sentence"],
        asked=asked_texts(data),
        warnings=warnings_of(data),
        beyond=beyond_text(data),
        **{name: data[name] for name in ("verdict", "model", "data", "threat", "seed")},
        eps=eps_text(data["threat"]["eps"]),
        titles=("", "%", f"{100 * judged['confidence']:g} % interval", "examples"),
        rows=rows,
    )
