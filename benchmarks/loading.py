"""What finding out what a checkpoint is costs, and a quick audit of it, beside another version of this package.

    python benchmarks/loading.py MODELS --data-dir DATA --against TREE [--rounds 5] [--limit 64] [--only cifar10_resnet]

TREE is a checkout of the other version (`git worktree add ../before 09b335c`). The two take turns, each on every file
whose data set its name begins with (`cifar10_...`). Counted are seconds of the processor, child processes included,
which a shared machine changes little: of a load in a process that has imported everything, and of the whole command
`check FILE --dataset D --attacks pgd10 --limit N`. Prints a Markdown table of medians; `times` is the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

HERE = Path(__file__).resolve()
HEAD = """| file | load before | now | times | quick audit before | now | times |
|---|---|---|---|---|---|---|"""


def serve(data_dir: str) -> None:
    """Answer each line (file, data set) with the seconds of a load, each in a fork of its own."""
    from robaudit.errors import RobauditError  # noqa: PLC0415  of the version that PYTHONPATH says
    from robaudit.inputs import load_classifier, load_images  # noqa: PLC0415  likewise

    sets: dict[str, Any] = {}
    for line in sys.stdin:
        file, name = json.loads(line)
        if name not in sets:
            sets[name] = load_images(name, data_dir=Path(data_dir))
        child = os.fork()
        if not child:
            try:
                found = load_classifier(file, images=sets[name]).info.architecture
            except RobauditError:
                found = "refused"
            spent = sum(
                usage.ru_utime + usage.ru_stime
                for usage in (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
            )
            print(json.dumps([spent, found]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


class Version:
    """One of the two versions, with a process of it that loads."""

    def __init__(self, tree: Path, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.environment = os.environ | {"PYTHONPATH": str(tree.resolve() / "src"), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, str(HERE), "--serve", "--data-dir", str(data_dir)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def load(self, file: Path, name: str) -> float:
        """Seconds of a load."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps([str(file), name]) + "\n")
        self._server.stdin.flush()
        spent, _ = json.loads(self._server.stdout.readline())
        return float(spent)

    def audit(self, file: Path, name: str, limit: int) -> float:
        """Seconds of a quick audit."""
        with tempfile.TemporaryDirectory() as folder:
            flags = (
                f"--dataset {name} --attacks pgd10 --limit {limit} --evidence {folder}/a.evidence --data-dir"
            )
            run = subprocess.Popen(
                [sys.executable, "-m", "robaudit", "check", str(file), *flags.split(), str(self.data_dir)],
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            usage = os.wait4(run.pid, 0)[2]
        return usage.ru_utime + usage.ru_stime

    def close(self) -> None:
        """End the process that loads."""
        self._server.communicate()


def in_turn(before: Callable[[], float], now: Callable[[], float], rounds: int) -> str:
    """Three cells: the medians of both, and of the ratios."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second, first = now(), before()
        else:
            first, second = before(), now()
        pairs.append((first, second))
    ratio = statistics.median(second / first for first, second in pairs)
    medians = (statistics.median(column) for column in zip(*pairs, strict=True))
    return " | ".join([*(f"{median:.2f}" for median in medians), f"{ratio:.2f}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="?")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--only", default="")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(str(options.data_dir))
        return
    before, now = (Version(tree, options.data_dir) for tree in (options.against, HERE.parents[1]))
    print(HEAD, flush=True)
    for file in sorted(options.models.iterdir()):
        name = file.name.partition("_")[0]
        if name not in ("cifar10", "cifar100", "mnist") or options.only not in file.name:
            continue
        loads = in_turn(partial(before.load, file, name), partial(now.load, file, name), options.rounds)
        audits = " | | "
        if options.limit:
            of = file, name, options.limit
            audits = in_turn(partial(before.audit, *of), partial(now.audit, *of), options.rounds)
        print(f"| {file.name} | {loads} | {audits} |", flush=True)
    before.close()
    now.close()


if __name__ == "__main__":
    main()
