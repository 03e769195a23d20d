"""The report as one HTML file: it fetches nothing, runs one script of its own, and reads without it."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape as escape_markup
from importlib import resources
from pathlib import Path
from typing import Any

from robaudit.reports.case import Case, Picture, class_name
from robaudit.reports.commands import commands
from robaudit.reports.figures import (
    METRICS,
    accuracy_chart,
    curves_chart,
    gap_chart,
    metric_chart,
    references,
)
from robaudit.reports.formatting import (
    HEADLINES,
    asked_texts,
    eps_text,
    label,
    percent,
    plain,
    table_caption,
    where_text,
)
from robaudit.reports.images import perturbation_uri, png_uri
from robaudit.reports.landscape import NUMBERS
from robaudit.reports.shared_table import beyond_text, title_of
from robaudit.reports.surface_svg import surface_svg


def escape(value: object) -> str:
    """A stranger's text as text: no markup, no control characters."""
    return escape_markup(plain(value))


def html(case: Case) -> str:
    """The whole page.

    Its content security policy allows the style and the script that are in it, by their digests, and images in
    `data:` URIs; nothing else is fetched or run, whatever a checkpoint's texts hold.
    """
    data = case.data
    style, script = _asset("page.css"), _asset("page.js") if case.surface else ""
    allowed = f"'{_digest(script)}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
    sections = [_verdict(data), _why(data), _accuracy(data), _gap(case), _curves(case), _convergence(case)]
    sections += [_landscape(case), _witnesses(case), _repeat(case)]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>robaudit: {escape(Path(case.name).name)}: {HEADLINES[data['verdict']['outcome']].lower()}</title>",
            f"<style>{style}</style>\n</head>\n<body>",
            *[part for part in sections if part],
            f"<script>{script}</script>" if script else "",
            "</body>\n</html>\n",
        ]
    )


@cache
def _asset(name: str) -> str:
    return (resources.files("robaudit.reports") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>"


def _verdict(data: dict[str, Any]) -> str:
    verdict, model, images, threat = data["verdict"], data["model"], data["data"], data["threat"]
    lines = [
        f"<p><strong>{escape(data['headline']['sentence'])}</strong></p>",
        f"<p>{escape(verdict['summary'])}</p>",
    ]
    lines += [f"<p>{escape(text)}</p>" for text in asked_texts(data)]
    sure = (
        f"No decision at confidence {verdict['confidence']:g} after {verdict['decided_after']} examples."
        if verdict["outcome"] == "inconclusive"
        else f"Decided by the first {verdict['decided_after']} examples. Whatever the model, a decision of this "
        f"procedure is wrong with probability at most {1 - verdict['confidence']:.2g}."
    )
    if not data["finished"]:
        lines.append("<p><strong>This audit is unfinished.</strong></p>")
    if verdict["outcome"] == "not-overestimated":
        sure += " “Nothing found” is not a proof of robustness."
    return (
        f'<header class="verdict {verdict["outcome"]}">\n<h1>{HEADLINES[verdict["outcome"]]}</h1>\n'
        f"{''.join(lines)}<p>{sure}</p>\n"
        f'<p class="faint"><strong>{escape(model["path"])}</strong>, {escape(model["architecture"])}, '
        f"{model['parameters']:,} parameters, on {escape(images['name'])} {escape(images['split'])}: "
        f"{images['audited']} of {images['total']} examples, {threat['norm']} eps {eps_text(threat['eps'])}, "
        f"seed {data['seed']}</p>\n</header>"
    )


def _why(data: dict[str, Any]) -> str:
    items = [
        f'<li class="{escape(item["severity"])}"><strong>{escape(item["code"])}</strong>: {escape(item["message"])}<br>'
        f"{escape(item['advice'])}</li>"
        for item in data["verdict"]["causes"]
    ]
    return _section("Why", f'<ul class="causes">{"".join(items)}</ul>') if items else ""


def _accuracy(data: dict[str, Any]) -> str:
    note = (
        f"<p class='faint'>{escape(table_caption(data))} Intervals at confidence {data['verdict']['confidence']:g}. "
        f"{escape(beyond_text(data))}</p>"
    )
    return _section("Accuracy under each attack", accuracy_chart(data) + note)


def _gap(case: Case) -> str:
    parts = []
    for name, item in case.data["gap"].items():
        value, interval = percent(item, "+")
        title = escape(title_of(case.evidence, name))
        parts.append(f"<p>{title}: <strong>{value} points</strong> ({interval}), of {item['n']} examples</p>")
        parts.append(gap_chart(case.evidence, case.data, name))
    if not parts:
        return ""
    note = (
        "<p class='faint'>The line is the gap of the examples so far, the shade its confidence sequence: it holds at "
        "every number of examples at once, so stopping at any of them is allowed.</p>"
    )
    return _section("Gap over examples", "".join(parts) + note)


def _curves(case: Case) -> str:
    drawing, names = curves_chart(case.evidence)
    if not names:
        return ""
    key = _key([(f"curve{place}", title_of(case.evidence, name)) for place, name in enumerate(names)])
    note = (
        "<p class='faint'>A pass is one forward or one backward pass: a query of Square is one, a step of PGD two. "
        "A curve that still falls at its end asks for a larger budget.</p>"
    )
    return _section("Accuracy against queries and steps", drawing + key + note)


def _key(entries: list[tuple[str, str]]) -> str:
    items = [
        f'<li><svg viewBox="0 0 32 12" aria-hidden="true"><path class="{style}" d="M0 6H32"/></svg>{escape(words)}</li>'
        for style, words in entries
    ]
    return f'<ul class="key">{"".join(items)}</ul>'


def _convergence(case: Case) -> str:
    drawings = [metric_chart(case.evidence, name) for name in METRICS]
    found = [drawing for drawing in drawings if drawing]
    if not found:
        return ""
    names = ", ".join(
        f"{item['model']} ({item['data']}, {item['examples']})" for item in references()["models"]
    )
    note = (
        "<p class='faint'>How PGD-10 converged, example by example. Filled: this model. Dashed: models whose "
        f"robustness is not overestimated, {escape(names)}.</p>"
    )
    return _section("Convergence of PGD-10", "".join(found) + note)


def _landscape(case: Case) -> str:
    if case.surface is None:
        return ""
    found, about = case.surface.numbers(), case.surface.about
    rows = "".join(
        f"<tr><th>{title}</th><td>{found[name]:.3g}</td><td>{words}</td></tr>"
        for name, (title, words) in NUMBERS.items()
    )
    note = (
        f"<p class='faint'>Mean cross-entropy of {len(case.surface)} images at x + a r1 + b r2, r1 the sign of the "
        f"gradient, r2 random signs, a and b up to {case.surface.offsets[-1]:.3g}; seed {escape(about.get('seed'))}. "
        "Drag the surface, or focus it and use the arrow keys.</p>"
    )
    return _section("Loss landscape", surface_svg(case.surface) + f"<table>{rows}</table>" + note)


def _witnesses(case: Case) -> str:
    if not case.pictures:
        return ""
    note = (
        "<p class='faint'>First those that PGD-10 left standing. From left to right: the clean image, the perturbation "
        "(grey: unchanged; scaled to its largest value), the adversarial image.</p>"
    )
    body = "".join(_witness(case, item) for item in case.pictures)
    return _section("Witnesses", f'{note}<div class="witnesses">{body}</div>')


def _witness(case: Case, item: Picture) -> str:
    uris = (png_uri(item.clean), perturbation_uri(item.clean, item.adversarial), png_uri(item.adversarial))
    kinds = ("clean", "perturbation", "adversarial")
    _, height, width = item.clean.shape
    images = "".join(
        f'<img src="{uri}" alt="example {item.id}, {kind}" width="{width}" height="{height}">'
        for uri, kind in zip(uris, kinds, strict=True)
    )
    before, after = class_name(case, item.prediction), class_name(case, item.answer)
    return (
        f'<figure class="witness"><div>{images}</div><figcaption>{label(item.attack)}, example {item.id}: '
        f"<strong>{escape(before)}</strong> → <strong>{escape(after)}</strong></figcaption></figure>"
    )


def _repeat(case: Case) -> str:
    data = case.data
    rows = {
        "model": f"digest {data['model'].get('digest', '')}, file sha256 {data['model']['sha256']}, "
        f"{data['model']['architecture']}, normalisation {data['model']['normalisation']}",
        "data": f"{data['data']['name']} {data['data']['split']}, sha256 {data['data']['sha256']}",
        "evidence": f"{case.source}, sha256 {case.digest}",
        "device": f"{where_text(data['cost'])}, {data['cost']['seconds']:.1f} s, {data['cost']['forwards']:,} forward "
        f"and {data['cost']['backwards']:,} backward passes",
        "versions": ", ".join(f"{name} {value}" for name, value in data["versions"].items()),
        "plan": json.dumps(data["plan"] | {"threat": data["threat"]}),
    }
    for place, note in enumerate(data["model"].get("notes") or []):
        rows[f"note {place + 1}"] = note
    table = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>"
        for name, value in rows.items()
    )
    lines = "\n".join(commands(data, case.source))
    return _section(
        "To repeat it",
        f'<pre>{escape_markup(lines)}</pre><div class="scroll"><table>{table}</table></div>',
    )
