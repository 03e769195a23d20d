"""The report for a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from robaudit.escaping import plain
from robaudit.evidence import Evidence
from robaudit.reports.eps_curve import curve_table
from robaudit.reports.formatting import (
    HEADLINES,
    WARNING,
    asked_texts,
    eps_text,
    percent,
    warnings_of,
    where_text,
)
from robaudit.reports.shared_table import beyond_text
from robaudit.reports.summary import summary
from robaudit.reports.words import convergence_words
from robaudit.verdict import FEW_EXAMPLES, Verdict
from robaudit.wording import examples

_COLOURS = {"overestimated": "red", "not-overestimated": "green", "inconclusive": "yellow"}
_MARK = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}


def terminal(evidence: Evidence, verdict: Verdict) -> RenderableType:
    """The whole report. Names that come from files are printed as plain text, never as markup."""
    data = summary(evidence, verdict)
    parts: list[RenderableType] = [_headline(data), _accuracies(data), _beyond(data)]
    parts += [part for part in (_gaps(data), _curve(data), _metrics(data), _causes(data)) if part is not None]
    return Group(*parts, _footer(data))


def terminal_text(evidence: Evidence, verdict: Verdict) -> str:
    """The same without colours, for a file."""
    # In a notebook a console shows what it prints, whatever its file is, unless told not to.
    screen = Console(
        width=110, record=True, file=io.StringIO(), highlight=False, emoji=False, force_jupyter=False
    )
    screen.print(terminal(evidence, verdict))
    return screen.export_text()


def _headline(data: dict[str, Any]) -> RenderableType:
    outcome = data["verdict"]["outcome"]
    title, colour = HEADLINES[outcome], _COLOURS[outcome]
    model, threat, images = data["model"], data["threat"], data["data"]
    body = Text()
    body.append(title, style=f"bold {colour}")
    body.append(f"   {plain(data['headline']['sentence'])}\n")
    body.append(plain(data["verdict"]["summary"]) + "\n")
    for text in asked_texts(data):
        body.append(text + "\n")
    ended = "Open after" if outcome == "inconclusive" else "Decided by the first"
    body.append(f"{ended} {examples(data['verdict']['decided_after'])} at confidence ")
    body.append(f"{data['verdict']['confidence']:g}.\n")
    body.append("\n")
    body.append(f"{plain(model['path'])}", style="bold")
    body.append(
        f"   {plain(model['architecture'])}, normalisation {plain(model['normalisation'])}, "
        f"{model['parameters']:,} parameters\n"
        f"{plain(images['name'])} {plain(images['split'])}, {images['audited']} of {images['total']} examples, "
        f"{threat['norm']} eps {eps_text(threat['eps'])}, seed {data['seed']}"
    )
    for note in warnings_of(data):
        body.append(f"\n{note}", style="yellow")
    if not data["finished"]:
        body.append("\nThis audit is unfinished; run the same command to resume it.", style="yellow")
    return Panel(body, border_style=colour)


def _accuracies(data: dict[str, Any]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("accuracy, after the attacks before it" if data["plan"]["cascade"] else "accuracy")
    table.add_column("%", justify="right")
    table.add_column(f"{100 * data['verdict']['confidence']:g} % interval", justify="right")
    table.add_column("examples", justify="right")
    table.add_column("passes in all", justify="right")
    for item in data["table"]["rows"]:
        value, interval = percent(item)
        passes = data["cost"]["by_attack"].get(item["name"])
        total = f"{passes['forwards'] + passes['backwards']:,}" if passes else ""
        style = "bold" if item["name"] in ("clean", "autoattack") else ""
        table.add_row(item["title"], value, interval, str(item["n"]), total, style=style)
    return table


def _beyond(data: dict[str, Any]) -> RenderableType:
    words = beyond_text(data)
    return Text(f"{words}\n" if words else "", style="dim")


def _gaps(data: dict[str, Any]) -> RenderableType | None:
    if not data["table"]["gaps"]:
        return None
    table = Table(box=None, pad_edge=False)
    table.add_column("gap")
    table.add_column("points", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("examples", justify="right")
    for item in data["table"]["gaps"]:
        value, interval = percent(item, "+")
        style = "red" if item["value"] >= item["bound"] else ""
        table.add_row(item["title"], value, interval, f"{100 * item['bound']:g}", str(item["n"]), style=style)
    return Group(table, Text())


def _curve(data: dict[str, Any]) -> RenderableType | None:
    return Group(curve_table(data["eps_curve"]), Text()) if data["eps_curve"] else None


def _metrics(data: dict[str, Any]) -> RenderableType | None:
    found = data["metrics"]
    if any(value is None for value in found.values()):
        return None
    usual = convergence_words(found["fosc_normalised"], found["sgcs"], found["zero_gradients"])
    return Text(
        f"PGD-10's convergence: FOSC {found['fosc']:.4g} (normalised {found['fosc_normalised']:.3f}), "
        f"SGCS {found['sgcs']:.3f}, gradients exactly zero {100 * found['zero_gradients']:.1f} %, on "
        f"{examples(found['examples'])}.\n{usual}\n"
    )


def _causes(data: dict[str, Any]) -> RenderableType | None:
    if not data["verdict"]["causes"]:
        return None
    text = Text()
    for item in data["verdict"]["causes"]:
        mark, colour = _MARK[item["severity"]]
        text.append(f"{mark} {plain(item['code'])}", style=colour)
        text.append(f"  {plain(item['message'])}\n  {plain(item['advice'])}\n")
    return text


def _footer(data: dict[str, Any]) -> RenderableType:
    spent = data["cost"]
    text = Text(style="dim")
    for note in data["model"].get("notes", []):
        if not note.startswith(WARNING):
            text.append(f"{plain(note)}\n")
    text.append(
        f"{spent['forwards']:,} forward and {spent['backwards']:,} backward passes in {spent['seconds']:.1f} s on "
        f"{where_text(spent)}; robaudit {plain(data['versions']['robaudit'])}, "
        f"torch {plain(data['versions']['torch'])}"
    )
    whole, decided = spent["whole"], spent["decided"]
    if decided:
        text.append(
            f"\nTo decide it took {decided['forwards'] + decided['backwards']:,} passes, on up to "
            f"{examples(decided['examples'])}; the rest "
            + ("is for AutoAttack's number." if data["plan"]["within"] else "fills the table.")
        )
    if whole["measured"] >= FEW_EXAMPLES and data["data"]["audited"] < whole["examples"]:
        passes = whole["forwards"] + whole["backwards"]
        done = 100 * (spent["forwards"] + spent["backwards"]) / passes
        text.append(
            f"\n{done:.1f} % of what every attack on all {whole['examples']:,} examples would take "
            f"(about {passes:,} passes, from the first {whole['measured']})"
        )
    return text
