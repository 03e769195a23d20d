"""`robaudit sweep`: a grid of training runs, each audited; the share that ends up overestimated, beside the paper's."""

from __future__ import annotations

from pathlib import Path

import typer

from robaudit.cli.help import one_of
from robaudit.cli.trackers import TRACKERS, check_tracker


def sweep(
    grid: Path = typer.Argument(..., help="A .toml file, as those in examples/sweeps/."),
    out: Path = typer.Option(..., help="Folder of the runs; finished ones there are not repeated."),
    data_dir: Path | None = typer.Option(None, help="Where named data sets lie."),
    jobs: int = typer.Option(1, help="Runs at once on this machine."),
    ray: str | None = typer.Option(
        None, help="Address of a Ray cluster to run on; --out must be a folder that all its machines see."
    ),
    log: str | None = typer.Option(
        None,
        "--log",
        help="Log the numbers by mlflow, wandb or tensorboard, where its extra is installed.",
        autocompletion=one_of(TRACKERS),
        rich_help_panel="Output",
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print the commands."),
) -> int:
    """Train and audit every cell of a grid, and print the shares of unstable runs with intervals.

    Example: robaudit sweep examples/sweeps/table2-batch-size.toml --out runs/table2 --data-dir data
    """
    check_tracker(log)
    from robaudit.cli.sweeping import Sweep, carry_out, log_results

    found = Sweep.read(grid)
    code = carry_out(found, out, data_dir, jobs, ray, dry_run)
    if log and not dry_run:
        log_results(log, found.jobs(out.resolve()), out)
    return code
