"""The verdict as a badge: an SVG of two boxes, without a font of its own."""

from __future__ import annotations

from html import escape

from robaudit.reports.case import Case

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
    text = 'fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{total}" height="20" rx="3" fill="#444"/>'
        f'<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{widths[1] - 3}z" '
        f'fill="{_COLOURS[verdict]}"/>'
        f"<g {text}>"
        f'<text x="{widths[0] / 2}" y="14">{escape(left)}</text>'
        f'<text x="{widths[0] + widths[1] / 2}" y="14">{escape(right)}</text></g></svg>\n'
    )
