"""Several checkpoints through the audit: a line each as they come, and one table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.cli.auditing import COULD_NOT_AUDIT, Checked, CheckRequest, check_safely
from robaudit.cli.common import console, write_text
from robaudit.errors import RobauditError
from robaudit.escaping import json_text, plain
from robaudit.torchrun import is_first_process

if TYPE_CHECKING:
    from robaudit.cli.check_reports import Outputs
    from robaudit.inputs import Images
    from robaudit.verdict import Claim

#: Rows of the table of one checkpoint that that of several has as columns.
_COLUMNS = ("clean", "pgd10", "square", "autoattack")


def folder_for(paths: list[str], evidence: Path | None) -> None:
    """Make the folder for the evidence of several checkpoints.

    Raises:
        RobauditError: it cannot be made.

    """
    if evidence is None or len(paths) == 1:
        return
    try:
        evidence.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RobauditError(
            f"{evidence}: must be a folder, for the evidence of {len(paths)} checkpoints"
        ) from error


def check_several(
    paths: list[str],
    images: Images,
    request: CheckRequest,
    evidence: Path | None,
    outputs: Outputs,
    ray: str | None,
) -> int:
    """Audit every checkpoint, here or on the Ray cluster at the address `ray`, and report them; the exit code."""
    jobs = [(path, _place(path, number, evidence)) for number, path in enumerate(paths)]
    if ray is None:
        results: Iterable[Checked] = (check_safely(path, images, request, place) for path, place in jobs)
    else:
        from robaudit.cli.cluster import check_on_ray

        results = check_on_ray(jobs, images, request, ray)
    return check_many(results, outputs, request.claim)


def _place(model: str, number: int, evidence: Path | None) -> Path | None:
    """The evidence file of one of several checkpoints; of one alone, `evidence` itself."""
    if evidence is None or not evidence.is_dir():
        return evidence
    return evidence / f"{number:03d}-{Path(model).stem}.evidence"


def check_many(results: Iterable[Checked], outputs: Outputs, claim: Claim | None = None) -> int:
    """Report several audits as they come; one that failed is a row of the table.

    The exit code is the gravest: 1, then 2, 3, 0.
    """
    from robaudit.evidence import SCHEMA

    out, first = console(), is_first_process()
    found = []
    for checked in results:
        found.append(checked)
        if first and not outputs.quiet:
            out.print(_line(checked), markup=False, soft_wrap=True)
    if first and not outputs.quiet:
        out.print(_table(found))
    if first and outputs.json:
        reports = [_data(item) for item in found]
        write_text(outputs.json, json_text({"schema": SCHEMA, "reports": reports}))
    if first:
        outputs.write(found, claim)
    return next(code for code in (1, COULD_NOT_AUDIT, 3, 0) if code in {item.code for item in found})


def _line(checked: Checked) -> str:
    from robaudit.reports import headline

    message = checked.error.splitlines()[0].removeprefix(f"{checked.model}: ") if checked.error else ""
    if checked.evidence is not None and checked.verdict is not None:
        message = f"{headline(checked.evidence)} {checked.verdict.summary}"
    return plain(f"{checked.model}: {message}")


def _cell(row: dict[str, Any]) -> str:
    from robaudit.reports import notes

    return f"{100 * row['value']:.1f}{notes(row)}"


def _table(results: list[Checked]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from robaudit.plan import title
    from robaudit.reports import side_by_side

    table = Table(box=None, pad_edge=False)
    table.add_column("checkpoint", overflow="fold")
    table.add_column("verdict")
    for column in _COLUMNS:
        table.add_column(title(column), justify="right")
    table.add_column("examples", justify="right")
    for item in results:
        name = Text(plain(item.model))
        if item.evidence is None or item.verdict is None:
            table.add_row(name, "could not audit")
            continue
        shown = side_by_side(item.evidence)
        found = {row["name"]: row for row in shown["rows"] if not row.get("after")}
        cells = [_cell(found[key]) if key in found else "" for key in _COLUMNS]
        table.add_row(name, item.verdict.outcome, *cells, str(shown["examples"]))
    return table


def _data(checked: Checked) -> dict[str, Any]:
    from robaudit.reports import summary

    if checked.evidence is None or checked.verdict is None:
        return {"model": {"path": checked.model}, "error": checked.error}
    return summary(checked.evidence, checked.verdict)
