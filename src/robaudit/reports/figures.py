"""The charts of the HTML report, each from the evidence alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.evidence import Evidence, Outcome
from robaudit.reports.charts import Axis, Plot, bars, histogram, tick_steps
from robaudit.reports.formatting import bound_of
from robaudit.reports.shared_table import title_of
from robaudit.stats import gap_path
from robaudit.verdict import GAPS, paired, population

PERCENT = tuple((k / 5, f"{20 * k} %") for k in range(6))
#: Points of a curve; more would not be seen.
_CURVE = 300
BINS = 24
#: metric: (title, low, high)
METRICS: dict[str, tuple[str, float, float]] = {
    "fosc_normalised": ("FOSC, normalised: 0 converged, 1 no better than the start", 0.0, 2.0),
    "sgcs": ("SGCS: 1 all steps in one direction, 0 unrelated directions", -0.2, 1.0),
}
#: What has a colour of its own, the same in every chart.
COLOURED = ("clean", "pgd10", "square", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "autoattack")


def colour_of(name: str) -> str:
    """The class of the page that gives an attack its colour."""
    return f"a-{name}" if name in COLOURED else "a-other"


def accuracy_chart(data: dict[str, Any]) -> Markup:
    """Every attack's robust accuracy with its interval, as in the paper's Table 1."""
    rows = [
        (item["title"], item["value"], item["low"], item["high"], f"bar {colour_of(item['name'])}")
        for item in data["table"]["rows"]
    ]
    return bars("Accuracy under each attack, with intervals", rows)


def gap_chart(evidence: Evidence, data: dict[str, Any], name: str) -> Markup:
    """The gap after each example, its confidence sequence, the bound, and where the audit could stop."""
    first, second, _ = GAPS[name]
    found = paired(evidence, first, second)
    low, high = gap_path(found.values, population(evidence), evidence.header.plan.confidence)
    mean = np.cumsum(found.values) / np.arange(1, len(found.values) + 1)
    bound = bound_of(data, name)
    last = float(found.after[-1])
    x = Axis("examples audited", 0, last, tick_steps(last))
    y = Axis("gap in points", -0.6, 1.0, tuple((k / 5, f"{20 * k:+d}") for k in range(-3, 6)))
    plot = Plot(f"Gap {title_of(evidence, name)} after each example", x, y, 280)
    after = found.after.astype(float)
    plot.band(after, low, high, "band")
    plot.line(after, mean, f"curve {colour_of(second)}")
    plot.line([0, last], [bound, bound], "bound")
    plot.text(last, bound, f"bound {100 * bound:g} points", "end")
    stop = float(data["verdict"]["decided_after"])
    if data["verdict"]["outcome"] != "inconclusive" and 0 < stop <= last:
        plot.line([stop, stop], [-0.6, 1.0], "stop")
        plot.text(stop, 0.9, f" decided after {stop:g} ", "start" if stop < last / 2 else "end")
    return plot.svg()


def curves_chart(evidence: Evidence) -> tuple[Markup, list[str], int]:
    """Accuracy left against model passes an example (a step of PGD is two, a query of Square one).

    The drawing, the attacks in it, and the examples that all of its curves are of.
    """
    names = [
        name
        for name in evidence.header.plan.attacks
        if name in evidence.attacks and evidence.known(name).any() and not evidence.header.plan.before(name)
    ]
    known = np.logical_and.reduce([np.ones(len(evidence), dtype=bool), *map(evidence.known, names)])
    names = names if known.any() else []
    most = max([10, *(int(_passes(evidence, name).max(initial=1)) for name in names)])
    decades = range(math.ceil(math.log10(most)) + 1)
    x = Axis(
        "model passes an example",
        1,
        10.0 ** decades[-1],
        tuple((10.0**k, f"{10**k:,}") for k in decades),
        True,
    )
    plot = Plot("Accuracy against model passes", x, Axis("accuracy left", 0, 1, PERCENT))
    for name in names:
        passes = _passes(evidence, name)[known]
        broken = evidence.attacks[name].outcome[known] == Outcome.BROKEN
        total, correct = int(known.sum()), int(evidence.correct[known].sum())
        ends = np.sort(passes[broken])
        stops = np.unique(np.geomspace(1, max(int(passes.max(initial=1)), 2), _CURVE).astype(int))
        left = (correct - np.searchsorted(ends, stops, side="right")) / total
        style = f"curve {colour_of(name)}"
        plot.line(np.repeat(stops, 2)[1:].astype(float), np.repeat(left, 2)[:-1], style)
    return plot.svg(), names, int(known.sum())


def _passes(evidence: Evidence, name: str) -> NDArray[np.int64]:
    record = evidence.attacks[name]
    return record.forwards + record.backwards


def metric_chart(evidence: Evidence, name: str) -> Markup | None:
    """The distribution of a measure of PGD-10's convergence beside honest models'; None where none was made."""
    values = getattr(evidence, name)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    title, low, high = METRICS[name]
    reference = sum(
        (np.array(item[name], dtype=np.float64) for item in other_references(evidence)), np.zeros(BINS)
    )
    step = 0.5 if high > 1 else 0.2
    ticks = tuple((k * step, f"{k * step:g}") for k in range(round(low / step), round(high / step) + 1))
    found = counts(values, name)
    return histogram(title, Axis(title, low, high, ticks), found, reference, f"fill {colour_of('pgd10')}")


def counts(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(BINS,) how many values fall into each bin of a metric; those outside go to the ends."""
    _, low, high = METRICS[name]
    return np.histogram(np.clip(values, low, high), BINS, (low, high))[0].astype(np.float64)


def other_references(evidence: Evidence) -> Sequence[dict[str, Any]]:
    """The honest models to compare with: never the audited model itself."""
    return [item for item in references()["models"] if item["sha256"] != evidence.header.model["sha256"]]


@cache
def references() -> dict[str, Any]:
    """The honest models' distributions, as `scripts/measure_references.py` measured them."""
    text = (resources.files("robaudit") / "assets" / "references.json").read_text(encoding="utf-8")
    return dict(json.loads(text))
