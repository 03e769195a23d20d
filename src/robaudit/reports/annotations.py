"""Findings as annotations of GitHub: workflow commands, one a line.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.escaping import plain
from robaudit.reports.case import Case, Failure
from robaudit.reports.sarif import repository_path, results_of

#: SARIF's level to GitHub's, the gravest first: of each only ten are shown.
_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def github_annotations(cases: Sequence[Case | Failure]) -> str:
    """A line for each finding at its checkpoint, but for those that are ignored or waived."""
    found = [
        (item.name, result)
        for item in cases
        if isinstance(item, Failure) or not item.standing.startswith("waived")
        for result in results_of(item)
        if "suppressions" not in result
    ]
    found.sort(key=lambda pair: list(_LEVELS).index(pair[1]["level"]))
    return "".join(
        f"{_line(name, result['level'], result['ruleId'], result['message']['text'])}\n"
        for name, result in found
    )


def _line(model: str, level: str, code: str, text: str) -> str:
    place, title = _property(repository_path(model)), _property(f"robaudit: {code}")
    return f"::{_LEVELS[level]} file={place},title={title}::{_data(f'{plain(model)}: {plain(text)}')}"


def _data(text: str) -> str:
    """Text after the second `::`, which a line break would end; a per cent sign begins an escape there."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A value of a property, which a comma or a colon would end as well."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
