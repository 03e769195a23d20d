"""The pages of a sweep: its table with links to every run, a page a run, and a board of the audits."""

from __future__ import annotations

from pathlib import Path

from robaudit.cli.grids import Job, Sweep
from robaudit.cli.streams import complain
from robaudit.cli.sweeping import gap, share_interval
from robaudit.errors import RobauditError
from robaudit.files import write_text

#: A run's page, in its folder.
_PAGE = "report.html"


def write_pages(sweep: Sweep, out: Path, board: Path | None) -> None:
    """Write `index.html` into the sweep's folder, a page into each run's, and a board where one is wanted.

    Raises:
        RobauditError: a place cannot be written.

    """
    from robaudit.reports.sweep_page import SweptCell, SweptRun, sweep_page

    jobs, cells = list(sweep.jobs(out)), []
    for values in dict.fromkeys(job.cell for job in jobs):
        mine = [job for job in jobs if job.cell == values]
        found = [(job, gap(job.result)) for job in mine]
        gaps = [value for _, value in found if value is not None]
        count = sum(value >= sweep.bound for value in gaps)
        low, high = share_interval(count, len(gaps))
        runs = tuple(
            SweptRun(f"seed {job.seed}", _run_page(job), "" if value is None else f"{100 * value:+.1f}")
            for job, value in found
        )
        mean = f"{100 * sum(gaps) / len(gaps):+.1f}" if gaps else ""
        name = " ".join(f"{key}={value}" for key, value in values)
        texts = tuple(str(value) for _, value in values)
        cells.append(
            SweptCell(
                values=texts,
                unstable=count,
                runs=len(gaps),
                low=low,
                high=high,
                gap=mean,
                paper=sweep.paper.get(name, ""),
                links=runs,
            )
        )
    page = out / "index.html"
    try:
        write_text(page, sweep_page(sweep.name, list(sweep.grid), cells, sweep.bound))
    except OSError as error:
        raise RobauditError(f"{page}: cannot be written ({error.strerror}); choose another --out") from error
    complain(f"page: {page}")
    if board is not None:
        from robaudit.cli.board import opened, publish

        evidence = [job.folder / "audit.evidence" for job in jobs]
        publish([opened(path) for path in evidence if path.exists()], board, sweep.name)


def _run_page(job: Job) -> str:
    """The run's page, made anew, as a path from the sweep's folder; empty where the run has no log yet."""
    from robaudit.reports.run_page import run_page

    try:
        write_text(job.folder / _PAGE, run_page(job.folder))
    except (RobauditError, OSError):
        return ""
    return f"{job.folder.name}/{_PAGE}"
