"""The report as Markdown: for a model card, a pull request or a step summary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from robaudit.escaping import plain
from robaudit.reports.case import Case, Failure
from robaudit.reports.formatting import HEADLINES, asked_texts, eps_text, percent, warnings_of
from robaudit.wording import examples

_SIGNS = {"overestimated": "❌", "not-overestimated": "✅", "inconclusive": "❔"}
#: Anything but letters, digits, spaces and what is harmless in prose; a full stop or a hyphen only inside a number or
#: a word, or before a space, where it makes no link and no list.
_SPECIAL = re.compile(
    r"(?![\w ,;()%…“”−±])(?!(?<=\w)[.](?=\s|\d|$))(?!(?<=\w)[-'’](?=\w))(?!(?<=\w):(?=\s)).|_"
)
_MARKS = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}


def escape(value: object) -> str:
    """A stranger's text that no Markdown, HTML, table, link or mention can come of.

    Every punctuation mark that could mean something becomes a character reference, which Markdown reads as text; after
    an @ stands an invisible character, because mentions are looked for in what is rendered.
    """
    return _SPECIAL.sub(
        lambda found: f"&#{ord(found[0])};" + ("&#8203;" if found[0] == "@" else ""), plain(value)
    )


def code(value: object) -> str:
    """A stranger's text in a typewriter face."""
    return f"<code>{escape(value)}</code>"


def markdown(cases: Sequence[Case | Failure]) -> str:
    """One section a checkpoint."""
    return "\n".join(_failure(item) if isinstance(item, Failure) else _section(item) for item in cases)


def _failure(item: Failure) -> str:
    return f"## ❌ COULD NOT AUDIT: {code(item.name)}\n\n{escape(item.error)}\n"


def _section(case: Case) -> str:
    data = case.data
    verdict, model, images, threat = data["verdict"], data["model"], data["data"], data["threat"]
    lines = [
        f"## {_SIGNS[verdict['outcome']]} {HEADLINES[verdict['outcome']]}: {code(model['path'])}",
        "",
        f"**{escape(data['headline']['sentence'])}** {escape(verdict['summary'])}",
    ]
    for text in asked_texts(data):
        lines += ["", escape(text)]
    for text in warnings_of(data):
        lines += ["", f"{_MARKS['warning']} {escape(text)}"]
    lines += [
        "",
        *_table(data["table"]["rows"] + data["table"]["gaps"], ""),
        *[
            f"- {_MARKS[item['severity']]} **{escape(item['code'])}**: {escape(item['message'])}"
            f"{_ignored(case, item['code'])}"
            for item in verdict["causes"]
        ],
        "",
        *_details(case),
        f"{code(images['name'])} {escape(images['split'])}, {threat['norm']} eps {eps_text(threat['eps'])}. "
        "“Nothing found” is not a proof of robustness.",
        "",
    ]
    return "\n".join(lines)


def _ignored(case: Case, code: str) -> str:
    return f" Ignored {escape(case.ignored[code])}." if code in case.ignored else ""


def _details(case: Case) -> list[str]:
    """What a reader unfolds: the rest of the numbers, what to do, and what the audit was of."""
    data = case.data
    verdict, model = data["verdict"], data["model"]
    ended = "open after" if verdict["outcome"] == "inconclusive" else "decided by the first"
    return [
        "<details><summary>Details</summary>",
        "",
        *(_table(data["table"]["beyond"], "of more examples") if data["table"]["beyond"] else []),
        *[f"- **{escape(item['code'])}**: {escape(item['advice'])}" for item in verdict["causes"]],
        "",
        f"{data['data']['audited']} of {data['data']['total']} examples, confidence {verdict['confidence']:g}, "
        f"seed {data['seed']}, {ended} {examples(verdict['decided_after'])}.",
        "",
        *([escape(case.checked), ""] if case.checked else []),
        f"Model {code((model.get('digest') or model['sha256'])[:16])}, {code(model['architecture'])}; "
        f"robaudit {escape(data['versions']['robaudit'])}.",
        "",
        "</details>",
        "",
    ]


def _table(rows: list[dict[str, Any]], title: str) -> list[str]:
    lines = [f"| {title} | % | interval | examples |", "|---|---:|---:|---:|"]
    for item in rows:
        value, interval = percent(item, "+" if "bound" in item else "")
        over = "**" if item["value"] >= item.get("bound", 2) else ""
        lines.append(f"| {escape(item['title'])} | {over}{value}{over} | {interval} | {item['n']} |")
    return [*lines, ""]
