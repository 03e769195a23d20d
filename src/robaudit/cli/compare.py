"""`robaudit compare`: is the new model worse than the last release?"""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.common import check_apart, check_writable, console, write_text
from robaudit.cli.help import one_of
from robaudit.errors import RobauditError
from robaudit.spelling import unknown

_CODES = {"better": 0, "not-worse": 0, "worse": 1, "inconclusive": 3}


def compare(
    old: Path = typer.Argument(..., help="Evidence of the old model."),
    new: Path = typer.Argument(..., help="Evidence of the new model, on the same data."),
    margin: float = typer.Option(0.02, help="The loss of robust accuracy that is still accepted."),
    form: str = typer.Option(
        "terminal",
        "--format",
        help="terminal, markdown or json.",
        autocompletion=one_of(("terminal", "markdown", "json")),
    ),
    out: str | None = typer.Option(None, help="File to write; standard output by default."),
) -> int:
    """Compare two evidences example by example.

    Exit codes: 0 better, or not worse; 1 worse by at least the margin, or overestimated now; 2 could not compare; 3
    inconclusive.

    Example: robaudit compare old.evidence new.evidence --margin 0.02
    """
    from robaudit.reports import COMPARISONS, difference_terminal, open_case
    from robaudit.verdict import compare as compare_evidence

    check_writable(out)
    check_apart(inputs=[old, new], out=out)
    if form not in ("terminal", *COMPARISONS):
        raise RobauditError(unknown("format", form, ("terminal", *COMPARISONS)))
    cases = [open_case(path) for path in (old, new)]
    try:
        found = compare_evidence(cases[0].evidence, cases[1].evidence, margin)
    except ValueError as error:
        reason = str(error)
        raise RobauditError(
            reason if reason.startswith("margin") else f"{old} and {new}: {reason}"
        ) from error
    if form == "terminal":
        if out:
            raise RobauditError(
                "format terminal is for the terminal; pass --format markdown or json with --out"
            )
        console().print(difference_terminal(found))
    else:
        write_text(out or "-", COMPARISONS[form](found))
    return _CODES[found.outcome]
