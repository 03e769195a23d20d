"""What the probes show: accuracy against eps, and a small picture beside a finding."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from robaudit.evidence import Evidence
from robaudit.reports.charts import Axis, Plot, bars
from robaudit.reports.figures import PERCENT, colour_of
from robaudit.reports.formatting import eps_text
from robaudit.reports.shared_table import title_of
from robaudit.stats import Interval, proportion

#: Radii at which PGD-10 was repeated, as multiples of the threat model's, and the probe's name.
_RADII = ((0.25, "pgd10_x0.25"), (1.0, "pgd10"), (2.0, "pgd10_x2"), (4.0, "pgd10_x4"))
_PGD = ("PGD-10", "pgd10")
#: finding: (what a bar is called, the probe: the share that is left standing).
_BARS: dict[str, tuple[tuple[str, str], ...]] = {
    "more-steps-break": (_PGD, ("PGD-40", "pgd40")),
    "restarts-break": (_PGD, ("5 starts of PGD-10", "starts")),
    "single-step-beats-iterative": (_PGD, ("one step of eps", "fgsm")),
    "noise-beats-pgd": (_PGD, ("20 random corners", "noise")),
    "unbounded-attack-fails": (_PGD, ("PGD without a bound", "unbounded")),
    "robust-in-another-norm": (_PGD, ("in the other norm's ball", "other_norm")),
    "last-softmax": (_PGD, ("PGD-10 before the softmax", "before_pgd10")),
    "vanishing-gradients": (("softmax exactly 1", "saturated"), ("gradient exactly 0", "silent")),
    "shattered-gradients": (("softmax exactly 1", "saturated"), ("gradient exactly 0", "silent")),
}
#: finding: the rows of the accuracy table that it compares.
_ROWS = {
    "black-box-beats-white-box": ("pgd10", "square"),
    "autoattack-beats-pgd": ("pgd10", "autoattack"),
    "transfer-beats-white-box": ("pgd10", "transfer"),
    "surrogate-beats-white-box": ("pgd10", "surrogate"),
    "weak-black-box": ("pgd10", "square"),
    "imbalanced-gradients": ("apgd-ce", "apgd-t"),
}
_OF_EPS = ("flat-in-eps", "robust-at-smaller-eps")


def finding_figure(evidence: Evidence, data: dict[str, Any], code: str) -> Markup | None:
    """A finding's own small picture; None where nothing was measured that shows it."""
    if code in _ROWS:
        rows = {item["name"]: item for item in data["table"]["rows"]}
        if not set(_ROWS[code]) <= set(rows):
            return None
        chosen = [rows[name] for name in _ROWS[code]]
        return bars(
            code.replace("-", " "),
            [(x["title"], x["value"], x["low"], x["high"], f"bar {colour_of(x['name'])}") for x in chosen],
        )
    if code in _OF_EPS:
        return eps_chart(evidence)
    found = [(words, _share(evidence, name), name) for words, name in _BARS.get(code, ())]
    known = [(words, share, name) for words, share, name in found if share]
    if not found or len(known) < len(found):
        return None
    return bars(
        code.replace("-", " "),
        [(words, s.value, s.low, s.high, f"bar {colour_of(name)}") for words, s, name in known],
    )


def eps_chart(evidence: Evidence) -> Markup | None:
    """What PGD-10 leaves of the probed examples, all of them right without an attack, at several radii."""
    eps = evidence.header.plan.threat.eps
    points = [(factor, share) for factor, name in _RADII if (share := _share(evidence, name))]
    if len(points) < 2:
        return None
    # Square roots, so that the small radii stand apart.
    ticks = ((0.0, "0"), *((math.sqrt(factor), eps_text(factor * eps)) for factor, _ in points))
    x = Axis("eps (square-root scale)", 0, math.sqrt(points[-1][0]), ticks)
    y = Axis(f"left by {title_of(evidence, 'pgd10')}", 0, 1, PERCENT)
    plot = Plot("Accuracy against eps", x, y)
    style = colour_of("pgd10")
    plot.line([0, *(math.sqrt(f) for f, _ in points)], [1, *(s.value for _, s in points)], f"curve {style}")
    for factor, share in points:
        plot.point(math.sqrt(factor), share.value, share.low, share.high, f"dot {style}")
    return plot.svg()


def _share(evidence: Evidence, name: str) -> Interval | None:
    probes = evidence.header.probes
    examples = int(probes.get("examples", 0))
    if name not in probes or examples < 1:
        return None
    return proportion(round(probes[name] * examples), examples, evidence.header.plan.confidence)
