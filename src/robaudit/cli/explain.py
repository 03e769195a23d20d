"""`robaudit explain`: a finding's entry in the documentation."""

from __future__ import annotations

import difflib

import typer

from robaudit.cli.common import console
from robaudit.errors import RobauditError


def explain(
    code: str = typer.Argument(
        "", help="Of a finding, as reports name it; without one, all are listed.", metavar="[CODE]"
    ),
) -> int:
    """Print when a finding is raised, what it means and what to do.

    Example: robaudit explain vanishing-gradients
    """
    from robaudit.verdict import pages

    found, screen = pages(), console()
    if not code:
        for page in found.values():
            screen.print(f"{page.code}: {page.sentence}", markup=False, soft_wrap=True)
        return 0
    if code not in found:
        near = difflib.get_close_matches(code, found, 1)
        hint = f"did you mean {near[0]}?" if near else "`robaudit explain` lists them"
        raise RobauditError(f"{code}: no such finding; {hint}")
    from rich.markdown import Markdown

    page = found[code]
    screen.print(Markdown(f"# {page.code}\n\n{page.text}"))
    screen.print(page.url, markup=False, soft_wrap=True)
    return 0
