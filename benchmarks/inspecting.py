"""What `robaudit inspect` takes by the clock on files of many layers, beside what starting PyTorch alone takes.

    python benchmarks/inspecting.py [--layers 2,1000,3000,10000] [--rounds 5]

The files are state dicts of linear layers of 4 x 4 with biases. Prints a Markdown table of medians; the rounds go
through all rows in turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

HEAD = """| | seconds | ms a layer beyond PyTorch's start |
|---|---|---|"""


def seconds(arguments: list[str]) -> float:
    """By the clock, of one Python from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def write_chain(path: Path, layers: int) -> None:
    """A state dict of that many linear layers."""
    state = {}
    for number in range(layers):
        state[f"layers.{number}.weight"] = torch.randn(4, 4)
        state[f"layers.{number}.bias"] = torch.randn(4)
    torch.save(state, path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", default="2,1000,3000,10000")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    counts = [int(count) for count in options.layers.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        commands = {0: ["-c", "import torch"]}
        for count in counts:
            write_chain(Path(folder) / f"{count}.pth", count)
            commands[count] = ["-m", "robaudit", "inspect", f"{folder}/{count}.pth"]
        taken = {
            count: statistics.median(column)
            for count, *column in zip(
                commands,
                *([seconds(c) for c in commands.values()] for _ in range(options.rounds)),
                strict=True,
            )
        }
    print(f"{HEAD}\n| `import torch` | {taken[0]:.2f} | |")
    for count in counts:
        print(f"| {count:,} layers | {taken[count]:.2f} | {1e3 * (taken[count] - taken[0]) / count:.2f} |")


if __name__ == "__main__":
    main()
