"""`robaudit board`: many audits as one static page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.streams import complain
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from robaudit.reports import Case, Failure


def board(
    evidence: list[Path] = typer.Argument(
        ..., help="Evidence files, or folders that hold some at any depth.", metavar="EVIDENCE|DIR..."
    ),
    out: Path = typer.Option(..., help="Folder of the site: index.html, board.csv, board.json, reports/."),
    title: str = typer.Option("Robustness audits", help="Heading of the page."),
) -> int:
    """Make a static page of many audits: a table that sorts and filters, each row linked to its report.

    Example: robaudit board evidence/ --out site/
    """
    files = [path for item in evidence for path in _files(item)]
    if not files:
        raise RobauditError(f"{evidence[0]}: holds no .evidence file; `robaudit check --evidence` writes one")
    publish([opened(path) for path in dict.fromkeys(files)], out, title)
    return 0


def _files(place: Path) -> Iterable[Path]:
    if place.is_dir():
        return sorted(place.rglob("*.evidence"))
    if not place.exists():
        raise RobauditError(f"{place}: no such evidence file or folder")
    return [place]


def opened(path: Path) -> Case | Failure:
    """What an evidence file holds, finished or not; a damaged one is a row that says so."""
    from robaudit.reports import Failure, open_case

    try:
        return open_case(path, pictures=True, unfinished=True)
    except RobauditError as error:
        return Failure(str(path), str(error))


def publish(items: list[Case | Failure], out: Path, title: str = "Robustness audits") -> None:
    """Write the site and say where it is.

    Raises:
        RobauditError: the place cannot be written.

    """
    from robaudit.reports import write_board

    try:
        page = write_board(items, out, title)[0]
    except OSError as error:
        raise RobauditError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    complain(f"board: {page} ({len(items)} audits)")
