"""`robaudit report`: an evidence file as a report, without the model."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.common import check_writable, console, write_text
from robaudit.errors import RobauditError


def report(
    evidence: Path = typer.Argument(..., help="Evidence file, or the folder of a training run."),
    form: str = typer.Option("terminal", "--format", help="terminal or json."),
    out: str | None = typer.Option(None, help="File to write; standard output by default."),
) -> int:
    """Draw a report from evidence; needs neither the model nor the data.

    Example: robaudit report model.evidence --format json --out report.json
    """
    if evidence.is_dir():
        from robaudit.cli.live import report_run

        return report_run(evidence, out)
    from robaudit.evidence import EvidenceFile
    from robaudit.reports import as_json, terminal
    from robaudit.verdict import judge

    check_writable(out)
    if form not in ("terminal", "json"):
        raise RobauditError(f"format '{form}' is not known; use terminal or json")
    with EvidenceFile.open(evidence) as file:
        found = file.read()
    if not len(found):
        raise RobauditError(f"{evidence}: no example is finished yet; go on with `robaudit check`")
    verdict = judge(found)
    if form == "json":
        write_text(out or "-", as_json(found, verdict))
    elif out:
        from rich.console import Console

        screen = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
        screen.print(terminal(found, verdict))
        write_text(out, screen.export_text())
    else:
        console().print(terminal(found, verdict))
    return 0
