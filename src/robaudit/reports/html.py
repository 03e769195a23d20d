"""The report as one HTML file: it fetches nothing, runs one script of its own, and reads without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from robaudit.reports.case import Case, Picture, class_name
from robaudit.reports.commands import commands
from robaudit.reports.eps_curve import curve_chart
from robaudit.reports.facts import about, plan_rows
from robaudit.reports.figures import (
    METRICS,
    accuracy_chart,
    colour_of,
    curves_chart,
    gap_chart,
    metric_chart,
    other_references,
)
from robaudit.reports.formatting import (
    HEADLINES,
    asked_texts,
    eps_text,
    label,
    percent,
    table_caption,
    warnings_of,
)
from robaudit.reports.images import perturbation_uri, png_uri
from robaudit.reports.per_class import per_class
from robaudit.reports.probe_figures import eps_chart, finding_figure
from robaudit.reports.shared_table import beyond_text, title_of
from robaudit.reports.surface_svg import lines_svg, map_svg, surface_svg
from robaudit.reports.surfaces import (
    HOW_TO_READ,
    NUMBERS,
    directions,
    numbers_of,
    scale_of,
    shown,
    subject,
)
from robaudit.reports.templates import asset, content_policy, render
from robaudit.reports.words import GLOSSARY
from robaudit.verdict import pages


def html(case: Case) -> str:
    """The whole page.

    Its content security policy allows the style and the script that are in it, by their digests, and images in
    `data:` URIs; nothing else is fetched or run, whatever a checkpoint's texts hold.
    """
    data = case.data
    style, script = asset("page.css"), asset("page.js") if case.surface else ""
    return render(
        "page.html",
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        name=Path(case.name).name,
        headline=HEADLINES[data["verdict"]["outcome"]],
        sentence=data["headline"]["sentence"],
        asked=asked_texts(data),
        warnings=warnings_of(data),
        reported=data["headline"]["reported"],
        caption=table_caption(data),
        beyond=beyond_text(data),
        **{name: data[name] for name in ("verdict", "model", "data", "threat", "seed", "finished")},
        eps=eps_text(data["threat"]["eps"]),
        accuracy=accuracy_chart(data),
        causes=[_cause(case, item) for item in data["verdict"]["causes"]],
        gaps=[_gap(case, name) for name in data["gap"]],
        curves=_curves(case),
        against_eps=_against_eps(case, data),
        convergence=_convergence(case),
        landscape=_landscape(case),
        witnesses=[_witness(case, item) for item in case.pictures],
        classes=per_class(case),
        glossary=GLOSSARY,
        commands=commands(data, case.source),
        plan=plan_rows(data),
        about=about(case),
    )


def _cause(case: Case, item: dict[str, Any]) -> dict[str, Any]:
    """A finding with its picture and its entry in the documentation."""
    page = pages().get(item["code"])
    return item | {
        "picture": finding_figure(case.evidence, case.data, item["code"]),
        "sentence": page.sentence if page else "",
        "url": page.url if page else "",
        "entry": [("Raised when", page.raised), ("What it means", page.meaning), ("What to do", page.advice)]
        if page
        else [],
    }


def _gap(case: Case, name: str) -> dict[str, Any]:
    found = case.data["gap"][name]
    value, interval = percent(found, "+")
    chart = gap_chart(case.evidence, case.data, name)
    title = title_of(case.evidence, name)
    return {"name": title, "value": value, "interval": interval, "examples": found["n"], "chart": chart}


def _against_eps(case: Case, data: dict[str, Any]) -> dict[str, Any]:
    """The chart of `--eps-curve`, else that of what the probes saw."""
    if data["eps_curve"]:
        return curve_chart(data["eps_curve"]) | {"probed": 0}
    return {
        "chart": eps_chart(case.evidence),
        "names": [],
        "probed": int(case.evidence.header.probes.get("examples", 0)),
    }


def _curves(case: Case) -> dict[str, Any]:
    chart, names, examples = curves_chart(case.evidence)
    titles = [(colour_of(name), title_of(case.evidence, name)) for name in names]
    return {"chart": chart, "names": titles, "examples": examples}


def _convergence(case: Case) -> dict[str, Any]:
    charts = [metric_chart(case.evidence, name) for name in METRICS]
    references = other_references(case.evidence)
    models = [f"{item['model']} ({item['data']}, {item['examples']})" for item in references]
    return {"charts": [chart for chart in charts if chart], "references": models}


def _landscape(case: Case) -> dict[str, Any] | None:
    if case.surface is None:
        return None
    found = numbers_of(case.surface)
    return {
        "items": [
            {
                "title": item.title,
                "scale": scale_of(item.loss).caption,
                "surface": surface_svg(case.surface, item),
                "map": map_svg(case.surface, item),
            }
            for item in shown(case.surface)
        ],
        "lines": lines_svg(case.surface),
        "rows": [(title, found[name], words, usual) for name, (title, words, usual) in NUMBERS.items()],
        "directions": directions([case.surface]),
        "reading": HOW_TO_READ,
        "subject": subject(case.surface),
    }


def _witness(case: Case, item: Picture) -> dict[str, Any]:
    uris = (png_uri(item.clean), perturbation_uri(item.clean, item.adversarial), png_uri(item.adversarial))
    _, height, width = item.clean.shape
    return {
        "id": item.id,
        "attack": label(item.attack),
        "images": [
            (kind, Markup(uri))
            for kind, uri in zip(("clean", "perturbation", "adversarial"), uris, strict=True)
        ],
        "width": width,
        "height": height,
        "before": class_name(case, item.prediction),
        "after": class_name(case, item.answer),
    }
