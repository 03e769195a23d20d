"""Judgement in, text or pictures out."""

from collections.abc import Callable, Sequence

from robaudit.reports.annotations import github_annotations
from robaudit.reports.badge import badge
from robaudit.reports.board import write_board
from robaudit.reports.case import Case, Failure, make_case, many_as_json, open_case
from robaudit.reports.difference import difference_json, difference_markdown, difference_terminal
from robaudit.reports.formatting import asked_texts, notes
from robaudit.reports.html import html
from robaudit.reports.junit import junit
from robaudit.reports.landscape import PICTURE_FORMATS, draw_landscapes, landscape_numbers
from robaudit.reports.markdown import markdown
from robaudit.reports.model_card import model_card
from robaudit.reports.notebook import notebook
from robaudit.reports.overview import markdown_summary
from robaudit.reports.sarif import codes_of, sarif
from robaudit.reports.shared_table import headline, side_by_side
from robaudit.reports.summary import as_json, summary
from robaudit.reports.terminal import terminal, terminal_text
from robaudit.verdict import Difference

#: What `robaudit report --format` takes: from one case to the text of a file.
REPORTS: dict[str, Callable[[Case], str]] = {
    "terminal": lambda case: terminal_text(case.evidence, case.verdict),
    "json": lambda case: as_json(case.evidence, case.verdict),
    "html": html,
    "markdown": lambda case: markdown([case]),
    "junit": lambda case: junit([case]),
    "sarif": lambda case: sarif([case]),
    "badge": badge,
    "model-card": model_card,
}

#: Reports of several checkpoints in one.
REPORTS_OF_SEVERAL: dict[str, Callable[[Sequence[Case | Failure]], str]] = {
    "markdown": markdown_summary,
    "junit": junit,
    "sarif": sarif,
    "json": many_as_json,
}
#: What `robaudit compare --format` takes besides the terminal.
COMPARISONS: dict[str, Callable[[Difference], str]] = {
    "markdown": difference_markdown,
    "json": difference_json,
}

__all__ = [
    "COMPARISONS",
    "PICTURE_FORMATS",
    "REPORTS",
    "REPORTS_OF_SEVERAL",
    "Case",
    "Failure",
    "as_json",
    "asked_texts",
    "badge",
    "codes_of",
    "difference_terminal",
    "draw_landscapes",
    "github_annotations",
    "headline",
    "html",
    "junit",
    "landscape_numbers",
    "make_case",
    "markdown",
    "notebook",
    "notes",
    "open_case",
    "sarif",
    "side_by_side",
    "summary",
    "terminal",
    "terminal_text",
    "write_board",
]
