"""What `robaudit gate --verify` costs beside making the evidence, for checkpoints at the standard budgets.

    python benchmarks/gate_cost.py --work DIR --data-dir DATA --checkpoint DATASET:FILE:EPS [--checkpoint ...]

For each checkpoint, a project of its own in DIR: `robaudit gate` makes the evidence (kept, so a second call measures
only the verification), then `robaudit gate --verify` attacks 16 pairs again. Seconds are the processor's, of the
command and its children, on one thread, start and loading included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def gate(project: Path, *more: str) -> tuple[float, float, subprocess.CompletedProcess[str]]:
    """The processor's and the clock's seconds of one `robaudit gate` in `project`, and what came of it."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    found = subprocess.run(
        [sys.executable, "-m", "robaudit", "gate", *more],
        cwd=project,
        check=False,
        env=os.environ | ONE_THREAD,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - began, found


def project_of(dataset: str, file: Path, eps: str, options: argparse.Namespace) -> Path:
    """A folder of the checkpoint and its policy."""
    project: Path = options.work / file.stem
    project.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, project / file.name)
    keys = {
        "models": [file.name],
        "dataset": dataset,
        "data-dir": str(options.data_dir.resolve()),
        "eps": eps,
        "limit": options.limit,
        "evidence": "kept",
    }
    (project / "robaudit.toml").write_text("".join(f"{key} = {json.dumps(keys[key])}\n" for key in keys))
    return project


def row(given: str, options: argparse.Namespace) -> str:
    """One line of the table."""
    dataset, name, eps = given.split(":")
    file = Path(name)
    project = project_of(dataset, file, eps, options)
    stored = project / "made.json"
    if not stored.exists():
        used, _, made = gate(project)
        if not list(project.glob("kept/*.evidence")):
            raise SystemExit(made.stdout + made.stderr)
        stored.write_text(json.dumps(used))
    used, clock, verified = gate(project, "--verify")
    if verified.returncode == 2:
        raise SystemExit(verified.stdout + verified.stderr)
    return f"| `{file.name}` | {dataset}, {eps} | {json.loads(stored.read_text()):.1f} | {used:.1f} | {clock:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--checkpoint", action="append", required=True, metavar="DATASET:FILE:EPS")
    parser.add_argument("--limit", type=int, default=64, help="examples that are audited")
    options = parser.parse_args()
    print("| checkpoint | data, Linf radius | making the evidence | `gate --verify` | by the clock |")
    print("|---|---|---|---|---|")
    for given in options.checkpoint:
        print(row(given, options), flush=True)


if __name__ == "__main__":
    main()
