"""The runs of a sweep, carried out: each a `robaudit train` and a `robaudit check`, resumable by themselves."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from robaudit.cli.common import console
from robaudit.cli.grids import LARGEST, Command, Job, Sweep
from robaudit.cli.trackers import log_report
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.files import read_text
from robaudit.stats import proportion


def run_job(commands: list[Command], result: str, folder: str | None = None) -> str:
    """Run a job's commands, in `folder` where that is here, unless its result is there; what went wrong, or nothing."""
    here = folder if folder and Path(folder).is_dir() else None
    if Path(result).exists():
        return ""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
        # `check` says its verdict in its exit code; 2 and above 3 are failures.
        if done.returncode not in ((0,) if "train" in command else (0, 1, 3)):
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    return ""


def carry_out(
    sweep: Sweep, out: Path, data_dir: Path | None, jobs: int, ray: str | None, dry_run: bool
) -> int:
    """Run what is not done yet and print the table; exit code 2 where a run failed."""
    if jobs < 1:
        raise RobauditError(f"--jobs {jobs} must be at least 1")
    todo = list(sweep.jobs(out.resolve()))
    screen = console()
    if dry_run:
        for job in todo:
            for command in sweep.commands(job, data_dir):
                screen.print(plain(shlex.join(command)), markup=False, soft_wrap=True)
        return 0
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RobauditError(f"{out}: cannot be created ({error.strerror}); choose another --out") from error
    work = [(sweep.commands(job, data_dir), str(job.result)) for job in todo]
    failures = dict(zip(todo, _on_ray(work, ray) if ray else _here(work, jobs), strict=True))
    for job, failure in failures.items():
        if failure:
            screen.print(plain(f"{job.folder.name}: {failure}"), markup=False, soft_wrap=True)
    screen.print(table(sweep, todo))
    return 2 if any(failures.values()) else 0


def _here(work: list[tuple[list[Command], str]], jobs: int) -> list[str]:
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda item: run_job(*item), work))


def _on_ray(work: list[tuple[list[Command], str]], address: str) -> list[str]:
    """Each job a task; one whose node dies is started again elsewhere and resumed from what is on disk."""
    from robaudit.cli.cluster import connected

    with connected(address) as (ray, gpus):
        task = ray.remote(num_gpus=gpus, max_retries=3)(run_job)
        found: list[str] = ray.get([task.remote(*item, str(Path.cwd())) for item in work])
        return found


def gap(result: Path) -> float | None:
    """PGD-10 minus Square of one audit; None where it is not there."""
    try:
        return float(json.loads(read_text(result, LARGEST))["gap"]["pgd10-square"]["value"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def log_results(kind: str, jobs: Iterable[Job], out: Path) -> None:
    """Each finished run's audit as a run of the tracker `kind`."""
    for job in jobs:
        try:
            report = json.loads(read_text(job.result, LARGEST))
        except (OSError, ValueError, RecursionError):
            continue
        settings = dict(job.cell) | {"seed": job.seed}
        log_report(kind, report, settings, out / "tensorboard" / job.folder.name)


def table(sweep: Sweep, jobs: list[Job]) -> Any:
    """One row a cell: unstable runs of finished ones, the share's 95 % interval, and the paper's own count."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    found = Table(title=Text(plain(sweep.name)), box=None, pad_edge=False)
    for title in (*sweep.grid, "unstable", "95 % interval", "mean gap", "paper"):
        found.add_column(Text(plain(title)), justify="right")
    for cell in dict.fromkeys(job.cell for job in jobs):
        gaps = [value for job in jobs if job.cell == cell and (value := gap(job.result)) is not None]
        count = sum(value >= sweep.bound for value in gaps)
        name = " ".join(f"{key}={value}" for key, value in cell)
        low, high = share_interval(count, len(gaps))
        found.add_row(
            *(escape(plain(value)) for _, value in cell),
            f"{count}/{len(gaps)}",
            f"{100 * low:.0f} … {100 * high:.0f} %" if gaps else "",
            f"{100 * sum(gaps) / len(gaps):+.1f}" if gaps else "",
            escape(plain(sweep.paper.get(name, ""))),
        )
    return found


def share_interval(count: int, runs: int) -> tuple[float, float]:
    """Of unstable runs, at confidence 0.95."""
    if not runs:
        return 0.0, 1.0
    interval = proportion(count, runs, 0.95)
    return interval.low, interval.high
