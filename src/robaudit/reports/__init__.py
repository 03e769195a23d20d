"""Judgement in, text or pictures out."""

from collections.abc import Callable

from robaudit.reports.badge import badge
from robaudit.reports.case import Case, Failure, make_case, open_case
from robaudit.reports.html import html
from robaudit.reports.junit import junit
from robaudit.reports.landscape import PICTURE_FORMATS, draw_landscapes, landscape_numbers
from robaudit.reports.markdown import markdown
from robaudit.reports.sarif import sarif
from robaudit.reports.summary import as_json, summary
from robaudit.reports.terminal import terminal, terminal_text
from robaudit.reports.words import plain

#: What `robaudit report --format` takes: from one case to the text of a file.
REPORTS: dict[str, Callable[[Case], str]] = {
    "terminal": lambda case: terminal_text(case.evidence, case.verdict),
    "json": lambda case: as_json(case.evidence, case.verdict),
    "html": html,
    "markdown": lambda case: markdown([case]),
    "junit": lambda case: junit([case]),
    "sarif": lambda case: sarif([case]),
    "badge": badge,
}

__all__ = [
    "PICTURE_FORMATS",
    "REPORTS",
    "Case",
    "Failure",
    "as_json",
    "badge",
    "draw_landscapes",
    "html",
    "junit",
    "landscape_numbers",
    "make_case",
    "markdown",
    "open_case",
    "plain",
    "sarif",
    "summary",
    "terminal",
    "terminal_text",
]
