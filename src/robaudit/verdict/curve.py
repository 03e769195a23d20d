"""Robust accuracy over the radius, and what it says: it must fall as eps grows, and end at nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

from robaudit.evidence import Evidence
from robaudit.stats import Interval, proportion
from robaudit.verdict.findings import Finding, finding

#: A rise by this many examples, and such a share of them, is not luck of random starts.
RISING_EXAMPLES, RISING_SHARE = 6, 0.04
#: Over this many times the radius accuracy must fall by so much, where there is so much to lose.
FLAT_FACTOR, SMALLEST_FALL, ACCURACY_TO_LOSE = 4.0, 0.05, 0.15
#: At a radius within which any image can be made grey this share may be left.
LEFT_SHARE = 0.10


@dataclass(frozen=True)
class CurvePoint:
    """One radius: the accuracy that PGD-10 leaves, and that the worst case of few passes leaves."""

    eps: float
    pgd10: Interval
    worst: Interval


def curve(evidence: Evidence) -> list[CurvePoint]:
    """The points of the curve, by radius; none where none was asked for.

    Intervals are two-sided at the plan's confidence, of the measured examples as a sample of all images like them.
    """
    kept = evidence.header.eps_curve
    if not kept:
        return []
    n, confidence = int(kept["examples"]), evidence.header.plan.confidence
    return [
        CurvePoint(eps, proportion(pgd, n, confidence), proportion(worst, n, confidence))
        for eps, pgd, worst in zip(kept["radii"], kept["pgd10"], kept["worst"], strict=True)
    ]


def curve_causes(evidence: Evidence) -> list[Finding]:
    """Findings on a curve that rises, stays flat, or does not end at nothing."""
    points = curve(evidence)
    found = []
    rises = [
        (b.pgd10.value - a.pgd10.value, a, b)
        for a, b in combinations(points, 2)
        if b.pgd10.value - a.pgd10.value >= max(RISING_SHARE, RISING_EXAMPLES / b.pgd10.n)
    ]
    if rises:
        _, low, high = max(rises, key=lambda item: item[0])
        found.append(finding("rises-with-eps", f"PGD-10's robust accuracy rises {_from_to(low, high)}."))
    flat = [
        (a, b)
        for a, b in combinations(points, 2)
        if b.eps >= FLAT_FACTOR * a.eps * (1 - 1e-9)
        and a.pgd10.value >= ACCURACY_TO_LOSE
        and a.pgd10.value - b.pgd10.value < SMALLEST_FALL
    ]
    if flat and not rises:
        found.append(finding("flat-in-eps", f"PGD-10's robust accuracy goes {_from_to(*flat[-1])}."))
    if points and points[-1].eps >= _grey(evidence) and points[-1].pgd10.value > LEFT_SHARE:
        left = f"PGD-10 leaves {100 * points[-1].pgd10.value:.0f} % at eps {points[-1].eps:g}"
        found.append(finding("unbounded-attack-fails", f"{left}, within which any image can be made grey."))
    return found


def _from_to(low: CurvePoint, high: CurvePoint) -> str:
    return (
        f"from {100 * low.pgd10.value:.0f} % at eps {low.eps:.4g} to {100 * high.pgd10.value:.0f} % at eps "
        f"{high.eps:.4g} ({high.pgd10.n} examples)"
    )


def _grey(evidence: Evidence) -> float:
    """The radius within which any image can be made grey."""
    size = math.prod(evidence.header.data["shape"])
    return {"Linf": 0.5, "L2": 0.5 * math.sqrt(size), "L1": 0.5 * size}[evidence.header.plan.threat.norm]
