"""The report as one HTML file: it fetches nothing, runs one script of its own, and reads without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robaudit.reports.case import Case, Picture, class_name
from robaudit.reports.commands import commands
from robaudit.reports.eps_curve import curve_chart
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
    doubts,
    eps_text,
    label,
    percent,
    table_caption,
    where_text,
)
from robaudit.reports.images import perturbation_uri, png_uri
from robaudit.reports.landscape import NUMBERS
from robaudit.reports.shared_table import beyond_text, title_of
from robaudit.reports.surface_svg import surface_svg
from robaudit.reports.templates import asset, content_policy, render


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
        doubts=doubts(data),
        reported=data["headline"]["reported"],
        caption=table_caption(data),
        beyond=beyond_text(data),
        **{name: data[name] for name in ("verdict", "model", "data", "threat", "seed", "finished")},
        eps=eps_text(data["threat"]["eps"]),
        accuracy=accuracy_chart(data),
        gaps=[_gap(case, name) for name in data["gap"]],
        curves=_curves(case),
        eps_curve=curve_chart(data["eps_curve"]),
        convergence=_convergence(case),
        landscape=_landscape(case),
        witnesses=[_witness(case, item) for item in case.pictures],
        commands=commands(data, case.source),
        facts=_facts(case),
    )


def _gap(case: Case, name: str) -> dict[str, Any]:
    found = case.data["gap"][name]
    value, interval = percent(found, "+")
    chart = gap_chart(case.evidence, case.data, name)
    title = title_of(case.evidence, name)
    return {"name": title, "value": value, "interval": interval, "examples": found["n"], "chart": chart}


def _curves(case: Case) -> dict[str, Any]:
    chart, names = curves_chart(case.evidence)
    return {"chart": chart, "names": [title_of(case.evidence, name) for name in names]}


def _convergence(case: Case) -> dict[str, Any]:
    charts = [metric_chart(case.evidence, name) for name in METRICS]
    models = [f"{item['model']} ({item['data']}, {item['examples']})" for item in references()["models"]]
    return {"charts": [chart for chart in charts if chart], "references": models}


def _landscape(case: Case) -> dict[str, Any] | None:
    if case.surface is None:
        return None
    found = case.surface.numbers()
    return {
        "chart": surface_svg(case.surface),
        "rows": [(title, f"{found[name]:.3g}", words) for name, (title, words) in NUMBERS.items()],
        "images": len(case.surface),
        "reach": f"{case.surface.offsets[-1]:.3g}",
        "seed": case.surface.about.get("seed"),
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


def _facts(case: Case) -> list[tuple[str, str]]:
    data = case.data
    model, images, cost = data["model"], data["data"], data["cost"]
    return [
        (
            "model",
            f"digest {model.get('digest', '')}, file sha256 {model['sha256']}, {model['architecture']}, "
            f"normalisation {model['normalisation']}",
        ),
        ("data", f"{images['name']} {images['split']}, sha256 {images['sha256']}"),
        ("evidence", f"{case.source}, sha256 {case.digest}"),
        (
            "device",
            f"{where_text(cost)}, {cost['seconds']:.1f} s, {cost['forwards']:,} forward and "
            f"{cost['backwards']:,} backward passes",
        ),
        ("versions", ", ".join(f"{name} {value}" for name, value in data["versions"].items())),
        ("plan", json.dumps(data["plan"] | {"threat": data["threat"]})),
        *((f"note {place}", note) for place, note in enumerate(model.get("notes") or [], 1)),
    ]
