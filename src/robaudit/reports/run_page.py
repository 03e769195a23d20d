"""A training run as one HTML page: its curves, the epochs' table, and the audit of the best checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from robaudit.errors import RobauditError
from robaudit.files import file_digest, read_file
from robaudit.reports.case import Case, open_case
from robaudit.reports.charts import Axis, Floats, Plot, tick_steps
from robaudit.reports.figures import PERCENT, accuracy_chart
from robaudit.reports.formatting import HEADLINES, table_caption
from robaudit.reports.run_best import BEST, SHOWN, read_best, why_best, why_less, worth
from robaudit.reports.run_curves import LOG, Rows, Subject, best_epoch, read_log, spans, subjects
from robaudit.reports.templates import asset, content_policy, render

#: Where the last line of `robaudit train` tells the audit to go; what the log and the weights are called.
EVIDENCE, SETTINGS = "best.evidence", "settings.json"
WEIGHTS, LAST_WEIGHTS = "best.safetensors", "last.safetensors"
#: What a run's folder holds beside its picture.
FILES = (LOG, BEST, WEIGHTS, LAST_WEIGHTS, SETTINGS, EVIDENCE, "batches.jsonl", "resume.pt")
#: Examples and epochs that a settings file may speak of.
_MOST = 1_000_000_000
_TABLE = {
    "epoch": ("epoch", "d"),
    "clean": ("clean", "%"),
    "pgd10": ("PGD-10", "%"),
    "robust": ("robust", "%"),
    "robust_examples": ("of", "d"),
    "gap": ("gap", "%"),
    "fosc": ("FOSC", "g"),
    "fosc_normalised": ("normalised", "g"),
    "sgcs": ("SGCS", "g"),
    "train_clean": ("train clean", "%"),
    "train_adv": ("train adv.", "%"),
    "lr": ("rate", "g"),
}


def run_page(folder: Path) -> str:
    """The page.

    Raises:
        RobauditError: no log, or it is damaged.

    """
    rows, style = read_log(folder), asset("page.css")
    case, stale = _audit(folder)
    best, settings = best_epoch(rows), _of_run(folder)
    held = settings.get("validation")
    held = held if type(held) is int and 0 < held <= _MOST else None
    made = unfinished_words(folder, rows) or f"{len(rows)} epoch{'s' * (len(rows) > 1)}"
    epoch = next((row for row in rows if row["epoch"] == best), {})
    kept = read_best(folder) or {name: epoch[name] for name in ("epoch", *SHOWN) if name in epoch}
    return render(
        "run.html",
        policy=content_policy(style),
        style=Markup(style),
        name=folder.resolve().name,
        outcome=case.data["verdict"]["outcome"] if case else "",
        ended=f"{made}; the last: {_accuracies(rows[-1], held)}",
        kept=_kept(kept, rows, settings, held)
        if kept
        else "No epoch was fit to be the best; the last is kept.",
        audit=_about(case) if case else None,
        stale=stale,
        shades=_shades(rows),
        best=best,
        panels=[_panel(rows, item) for item in subjects(rows)],
        titles=[title for title, _ in _TABLE.values()] + ["remarks"],
        table=[
            ([_cell(row.get(name), form) for name, (_, form) in _TABLE.items()], _remarks(row, best))
            for row in rows
        ],
        command=_command(folder),
    )


def unfinished_words(folder: Path, rows: Rows) -> str:
    """How far a run is that is not over; empty where it is, or its settings do not say."""
    epochs = _of_run(folder).get("epochs")
    if type(epochs) is not int or not len(rows) < epochs <= _MOST:
        return ""
    return f"{len(rows)} of {epochs} epochs: the run is not finished, the same `robaudit train` resumes it"


def _kept(row: dict[str, Any], rows: Rows, settings: dict[str, Any], held: int | None) -> str:
    most: Any = settings.get("threshold") if settings.get("heal") == "paper" else None
    why = why_best(
        row,
        rows,
        by_pgd10=settings.get("select") == "pgd10",
        most_fosc=float(most) if type(most) in (int, float) and most > 0 else math.inf,
    )
    words = f"Kept as the best: {why}: {_accuracies(row, held)}"
    return f"{words}; {why_less(row)}." if why_less(row) else f"{words}."


def _audit(folder: Path) -> tuple[Case | None, str]:
    """The audit of the best checkpoint in the run's folder, or the name of one that is of other weights."""
    path = folder / EVIDENCE
    if not path.exists():
        return None, ""
    case = open_case(path, unfinished=True)
    try:
        weights = folder / WEIGHTS
        digest = file_digest(weights if weights.exists() else folder / LAST_WEIGHTS)
    except (OSError, ValueError):
        return None, EVIDENCE
    return (case, "") if case.data["model"]["sha256"] == digest else (None, EVIDENCE)


def _about(case: Case) -> dict[str, Any]:
    verdict = case.data["verdict"]
    return {
        "headline": HEADLINES[verdict["outcome"]],
        "summary": verdict["summary"],
        "accuracy": accuracy_chart(case.data),
        "caption": f"{table_caption(case.data)} Intervals at confidence {verdict['confidence']:g}.",
        "source": EVIDENCE,
    }


def _panel(rows: Rows, subject: Subject) -> dict[str, Any]:
    places = [float(row["epoch"]) for row in rows]
    seen = math.log10 if subject.log else float
    every = [seen(value) for curve in subject.curves for value in curve.values if math.isfinite(value)]
    low, high, ticks = _scale(every, share=subject.share, log=subject.log)
    end = max(places[-1], 2.0)
    whole = tuple((value, words) for value, words in tick_steps(end, 10) if value == int(value) and value > 0)
    plot = Plot(subject.title, Axis("epoch", 0, end, whole), Axis(subject.scale, low, high, ticks), 220)
    _shade(plot, rows, low, high)
    colours = [_COLOURS.get(curve.name.partition(" (")[0], "a-other") for curve in subject.curves]
    styles = [f"curve {colour}" for colour in colours]
    for curve, colour, style in zip(subject.curves, colours, styles, strict=True):
        here = np.isfinite(curve.values)
        heights = np.array([seen(value) for value in _at(curve.values, here)])
        if len(heights) == 1:  # no line
            x, y = float(_at(places, here)[0]), float(heights[0])
            ends = [float(_at(side, here)[0]) if side else y for side in (curve.low, curve.high)]
            low_end, high_end = (end if math.isfinite(end) else y for end in ends)
            plot.point(x, y, low_end, high_end, f"dot {colour}")
            continue
        if curve.low:
            known = np.isfinite(curve.low)
            plot.band(_at(places, known), _at(curve.low, known), _at(curve.high, known), "band")
        plot.line(_at(places, here), heights, style)
    names = [(style, curve.name) for style, curve in zip(styles, subject.curves, strict=True)]
    return {"title": subject.title, "chart": plot.svg(), "names": names}


def _scale(
    values: list[float], *, share: bool, log: bool
) -> tuple[float, float, tuple[tuple[float, str], ...]]:
    """From where to where an axis goes, and its ticks; `log`: the values are logarithms to base 10."""
    if share:
        return 0.0, 1.0, PERCENT
    if log:
        powers = range(math.floor(min(values)), math.ceil(max(values)) + 1)
        return powers[0], powers[-1], tuple((float(power), f"{10.0**power:g}") for power in powers)
    low, high = min(0.0, *values), max(0.0, *values)
    return low, high or low + 1.0, tick_steps(high)


#: What is measured has the colour that it has in every other report.
_COLOURS = {
    "clean": "a-clean",
    "PGD-10": "a-pgd10",
    "adversarial": "a-pgd10",
    "normalised FOSC": "a-pgd10",
    "FOSC": "a-pgd10",
    "SGCS": "a-pgd10",
    "robust": "a-autoattack",
    "worst case of the attacks": "a-autoattack",
    "Square's first queries": "a-square",
}


def _at(values: Any, here: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)[here]


_SHADES = {
    "masked": ("shade1", "shaded: masked"),
    "healing": ("shade2", "shaded: treated by the healer"),
}


def _shades(rows: Rows) -> list[tuple[str, str]]:
    return [key for name, key in _SHADES.items() if any(row.get(name) for row in rows)]


def _shade(plot: Plot, rows: Rows, low: float, high: float) -> None:
    for name, (style, _) in _SHADES.items():
        for span in spans(rows, name):
            plot.band(np.array(span), np.full(2, low), np.full(2, high), style)
    best = best_epoch(rows)
    if best:
        plot.line([best, best], [low, high], "stop")


def _accuracies(row: dict[str, Any], held: int | None) -> str:
    if all(isinstance(row.get(name), int | float) for name in SHOWN):
        return worth(row, held)
    return f"clean {_cell(row.get('clean'), '%')} %, PGD-10 {_cell(row.get('pgd10'), '%')} %"


def _cell(value: object, form: str) -> str:
    if not isinstance(value, int | float):
        return ""
    return {"d": f"{value:g}", "%": f"{100 * value:.1f}", "g": f"{value:.4g}"}[form]


def _remarks(row: dict[str, Any], best: int | None) -> str:
    words = ["kept as the best"] if row["epoch"] == best else []
    words += ["no better than guessing"] if row.get("at_chance") else []
    words += [f"treated: {row.get('treatment') or 'noise'}"] if row.get("healing") else []
    words += ["went back to earlier weights"] if row.get("rolled_back") else []
    words += [f"masked: {row.get('reason')}"] if row.get("masked") else []
    return "; ".join(words)


def _command(folder: Path) -> str:
    found = _settings(folder)
    try:
        return str(found["command"]) if found else ""
    except KeyError as error:
        raise _damaged(folder / SETTINGS, error) from error


def _of_run(folder: Path) -> dict[str, Any]:
    """The run's settings, as the file says: any value may be of any kind."""
    settings = _settings(folder).get("settings")
    return settings if isinstance(settings, dict) else {}


def _settings(folder: Path) -> dict[str, Any]:
    """What the run was begun with; nothing where an older version kept none."""
    path = folder / SETTINGS
    if not path.exists():
        return {}
    try:
        return dict(json.loads(read_file(path, 1 << 20)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RobauditError:
    return RobauditError(f"{path}: is damaged ({error}); run the training command again")
