"""`robaudit sweep`: a grid of training runs, each audited; the share that ends up overestimated, beside the paper's."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.trackers import LOG_OPTION, check_tracker, try_tracker


def sweep(
    grid: Path = typer.Argument(..., help="A .toml file, for example one of examples/sweeps/."),
    out: Path = typer.Option(..., help="Folder of the runs; finished ones there are not repeated."),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie."),
    jobs: int = typer.Option(1, help="Runs at once on this machine."),
    ray: str | None = typer.Option(
        None, help="Address of a Ray cluster to run on; --out must be a folder that all its machines see."
    ),
    log: str | None = LOG_OPTION,
    board: Path | None = typer.Option(None, help="Folder for a static page of all the audits."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the commands."),
) -> int:
    """Train and audit every cell of a grid, and print the shares of unstable runs with intervals.

    Example: robaudit sweep examples/sweeps/table2-batch-size.toml --out runs/table2 --data-dir data
    """
    check_tracker(log)
    from robaudit.cli.grids import Sweep
    from robaudit.cli.sweeping import carry_out, log_results

    sweep = Sweep.read(grid)
    if not dry_run:
        try_tracker(log)
    code = carry_out(sweep, out, data_dir, jobs, ray, dry_run)
    if not dry_run:
        from robaudit.cli.sweep_pages import write_pages

        write_pages(sweep, out, board)
        if log:
            log_results(log, sweep.jobs(out.resolve()), out)
    return code
