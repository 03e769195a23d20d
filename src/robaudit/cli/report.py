"""`robaudit report`: an evidence file as a report, without the model."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.common import check_apart, check_writable, console, write_text
from robaudit.cli.help import one_of
from robaudit.errors import RobauditError
from robaudit.spelling import unknown


def report(
    evidence: Path = typer.Argument(..., help="Evidence file, or the folder of a training run."),
    form: str = typer.Option(
        "terminal",
        "--format",
        help="terminal, html, markdown, json, junit, sarif, badge (an SVG) or model-card.",
        autocompletion=one_of(
            ("terminal", "html", "markdown", "json", "junit", "sarif", "badge", "model-card")
        ),
    ),
    out: str | None = typer.Option(None, help="File to write; standard output by default."),
    landscape: Path | None = typer.Option(
        None, help="An .npz of `robaudit landscape` of the same model, for the HTML report."
    ),
    unfinished: bool = typer.Option(
        False, "--unfinished", help="Report what an interrupted audit has so far."
    ),
) -> int:
    """Draw a report from evidence; needs neither the model nor the data.

    Example: robaudit report model.evidence --format html --out report.html
    """
    if evidence.is_dir():
        from robaudit.cli.live import report_run

        if landscape:
            raise RobauditError(f"{evidence}: is a training run, which a landscape is not drawn with")
        return report_run(evidence, out, form)
    from robaudit.evidence import Surface
    from robaudit.reports import REPORTS, open_case, terminal

    check_writable(out)
    check_apart(inputs=[evidence, landscape], out=out)
    if form not in REPORTS:
        raise RobauditError(unknown("format", form, REPORTS))
    surface = Surface.load(landscape) if landscape else None
    case = open_case(evidence, surface=surface, pictures=form == "html", unfinished=unfinished)
    if form == "terminal" and not out:
        console().print(terminal(case.evidence, case.verdict))
    else:
        write_text(out or "-", REPORTS[form](case))
    return 0
