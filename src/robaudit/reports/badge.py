"""The verdict as a badge: an SVG of two boxes, without a font of its own."""

from __future__ import annotations

from robaudit.reports.case import Case
from robaudit.reports.templates import render

_COLOURS = {"overestimated": "#b3261e", "not-overestimated": "#2e7d32", "inconclusive": "#8a6d00"}
#: Width of a character of the 11 px sans serif that browsers take, and the space beside a text.
_CHARACTER, _MARGIN = 6.6, 8


def badge(case: Case) -> str:
    """`robust accuracy | at most 41.2 %`, coloured by the verdict; `overestimated` where that is what it is.

    What is said of it is said with it: by less than AutoAttack at its standard budget.
    """
    verdict = case.data["verdict"]["outcome"]
    value = f"at most {100 * case.data['headline']['at_most']:.1f} %"
    strongest = case.data["accuracy"].get("autoattack")
    if strongest is None:
        value += " (without AutoAttack)"
    elif strongest["reduced"]:
        value += " (reduced AutoAttack)"
    right = {"overestimated": f"overestimated, {value}", "inconclusive": "inconclusive"}.get(verdict, value)
    left = "robust accuracy"
    widths = [round(len(text) * _CHARACTER) + 2 * _MARGIN for text in (left, right)]
    total = sum(widths)
    title = f"robaudit: {left}: {right}"
    return render(
        "badge.svg", total=total, widths=widths, title=title, left=left, right=right, colour=_COLOURS[verdict]
    )
