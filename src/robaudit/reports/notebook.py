"""The report as a piece of a notebook: the verdict and the numbers, with styles of its own and no script."""

from __future__ import annotations

from robaudit.evidence import Evidence
from robaudit.reports.formatting import HEADLINES, bound_of, claim_text, eps_text, label, percent
from robaudit.reports.summary import summary
from robaudit.reports.templates import render
from robaudit.verdict import Verdict

_COLOURS = {"overestimated": "#c62828", "not-overestimated": "#2e7d32", "inconclusive": "#b26a00"}


def notebook(evidence: Evidence, verdict: Verdict) -> str:
    """A fragment of HTML."""
    data = summary(evidence, verdict)
    judged = data["verdict"]
    rows = [(label(name), *percent(item), str(item["n"])) for name, item in data["accuracy"].items()]
    rows += [
        (label(name), *percent(item, "+"), f"bound {100 * bound_of(data, name):g}")
        for name, item in data["gap"].items()
    ]
    return render(
        "notebook.html",
        colour=_COLOURS[judged["outcome"]],
        headline=HEADLINES[judged["outcome"]],
        claim=claim_text(data["claim"]) if data["claim"] else "",
        **{name: data[name] for name in ("verdict", "model", "data", "threat", "seed")},
        eps=eps_text(data["threat"]["eps"]),
        titles=("", "%", f"{100 * judged['confidence']:g} % interval", "examples"),
        rows=rows,
    )
