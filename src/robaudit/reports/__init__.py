"""Judgement in, text or pictures out."""

from robaudit.reports.landscape import PICTURE_FORMATS, draw_landscapes, landscape_numbers
from robaudit.reports.summary import as_json, summary
from robaudit.reports.terminal import terminal
from robaudit.reports.words import plain

__all__ = [
    "PICTURE_FORMATS",
    "as_json",
    "draw_landscapes",
    "landscape_numbers",
    "plain",
    "summary",
    "terminal",
]
