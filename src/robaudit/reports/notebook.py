"""The report as a piece of a notebook: the verdict and the numbers, with styles of its own and no script."""

from __future__ import annotations

from html import escape as escape_markup

from robaudit.evidence import Evidence
from robaudit.reports.formatting import HEADLINES, asked_texts, eps_text, percent, plain
from robaudit.reports.shared_table import beyond_text
from robaudit.reports.summary import summary
from robaudit.verdict import Verdict

_COLOURS = {"overestimated": "#c62828", "not-overestimated": "#2e7d32", "inconclusive": "#b26a00"}


def notebook(evidence: Evidence, verdict: Verdict) -> str:
    """A fragment of HTML."""
    data = summary(evidence, verdict)
    model, images, threat, judged = data["model"], data["data"], data["threat"], data["verdict"]
    colour = _COLOURS[judged["outcome"]]
    lines = [f"<b>{_escape(data['headline']['sentence'])}</b>", _escape(judged["summary"])]
    lines += [_escape(text) for text in asked_texts(data)]
    rows = [_row(item["title"], *percent(item), str(item["n"])) for item in data["table"]["rows"]]
    rows += [
        _row(item["title"], *percent(item, "+"), f"{item['n']}, bound {100 * item['bound']:g}")
        for item in data["table"]["gaps"]
    ]
    causes = "".join(
        f"<li><b>{_escape(item['code'])}</b>: {_escape(item['message'])} {_escape(item['advice'])}</li>"
        for item in judged["causes"]
    )
    head = _row("", "%", f"{100 * judged['confidence']:g} % interval", "examples", cell="th")
    return (
        f'<div style="border-left:4px solid {colour};padding-left:1em">'
        f'<b style="color:{colour}">{HEADLINES[judged["outcome"]]}</b> <b>{_escape(model["path"])}</b><br>'
        f"{'<br>'.join(lines)}<br>"
        f"<small>{_escape(images['name'])} {_escape(images['split'])}, {images['audited']} of {images['total']} "
        f"examples, {_escape(threat['norm'])} eps {eps_text(threat['eps'])}, seed {data['seed']}</small>"
        f"<table>{head}{''.join(rows)}</table><small>{_escape(beyond_text(data))}</small>"
        f"{f'<ul>{causes}</ul>' if causes else ''}</div>"
    )


def _row(*cells: str, cell: str = "td") -> str:
    return "<tr>" + "".join(f"<{cell}>{_escape(text)}</{cell}>" for text in cells) + "</tr>"


def _escape(value: object) -> str:
    return escape_markup(plain(value))
