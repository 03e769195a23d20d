"""Whole commands side by side, from the shell to the number: `robaudit check` and a script that calls `pyautoattack`.

    python benchmarks/whole_commands.py cifar100:MODEL.pth:0.013:90 [...] --data-dir DIR

Each argument is data set, checkpoint, radius and number of examples, all of which either is given. Starting Python,
importing, reading the checkpoint and the images are part of the seconds; both read the checkpoint by our search for
its structure, the script without the child process that reads a file first. One after the other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from robaudit.plan import parse_fraction

HEAD = """| model | command | examples | robust accuracy | seconds | ours is faster by |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Case:
    """What both are given."""

    data_dir: str
    dataset: str
    model: str
    eps: str
    examples: str

    def ours(self) -> float:
        """Robust accuracy by `robaudit check`."""
        with tempfile.TemporaryDirectory() as folder:
            given = ["--eps", self.eps, "--limit", self.examples, "--attacks", "autoattack"]
            where = ["--data-dir", self.data_dir, "--evidence", f"{folder}/a.evidence", "--json", "-"]
            command = ["-m", "robaudit", "check", self.model, "--dataset", self.dataset, *given, *where]
            # Its exit code is the verdict's.
            found = subprocess.run([sys.executable, *command], check=False, stdout=subprocess.PIPE, text=True)
        return float(json.loads(found.stdout)["accuracy"]["autoattack"]["value"])

    def by_script(self) -> float:
        """The same by a process of its own that runs `script`."""
        name = f"{self.dataset}:{self.model}:{self.eps}:{self.examples}"
        command = [sys.executable, __file__, name, "--data-dir", self.data_dir, "--script"]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return float(found.stdout.splitlines()[-1])  # the reference prints what it does

    def script(self) -> float:
        """What a user of `pyautoattack` would run."""
        from pyautoattack import AutoAttack  # noqa: PLC0415  # the other side does not pay for it

        from robaudit.inputs import load_classifier, load_images  # noqa: PLC0415

        images = load_images(self.dataset, data_dir=Path(self.data_dir), seed=0, limit=int(self.examples))
        model, x, y = load_classifier(self.model, images=images), images.float(), images.labels
        eps = parse_fraction(self.eps)
        attack = AutoAttack(model, norm="Linf", eps=eps, version="standard", device="cpu", seed=0)
        x_adv, _ = attack.run_standard_evaluation(x, y)
        return float((model(x_adv).argmax(1) == y).float().mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="DATASET:MODEL:EPS:EXAMPLES")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--script", action="store_true", help="be the script, for the first case")
    options = parser.parse_args()
    cases = [Case(options.data_dir, *text.split(":")) for text in options.cases]
    if options.script:
        print(cases[0].script())
        return
    print(HEAD)
    for case in cases:
        seconds = []
        for name, run in (("robaudit check", case.ours), ("a script with pyautoattack", case.by_script)):
            began = time.perf_counter()
            robust = run()
            seconds.append(time.perf_counter() - began)
            cells = (name, case.examples, f"{100 * robust:.1f}", f"{seconds[-1]:.0f}")
            faster = f"{seconds[-1] / seconds[0]:.1f}"
            print(f"| {Path(case.model).name} {case.eps} | {' | '.join(cells)} | {faster} |", flush=True)


if __name__ == "__main__":
    main()
