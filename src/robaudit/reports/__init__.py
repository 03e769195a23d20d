"""Judgement in, text or pictures out."""

from robaudit.reports.summary import as_json, summary
from robaudit.reports.terminal import plain, terminal

__all__ = ["as_json", "plain", "summary", "terminal"]
