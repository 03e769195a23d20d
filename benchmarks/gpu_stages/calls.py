"""One call of a stage: what the flags say, the device, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpu_stages.archives import data_folder
from gpu_stages.deadline import Deadline
from gpu_stages.results import Results
from robaudit.errors import RobauditError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Call:
    """What the flags say.

    Attributes:
        data_dir: holds the data sets or their archives.
        minutes: of the whole call.
        out: the stage's folder.
        device: where to compute.
        dry_run: tiny sizes, to see that every line runs.
        seed: fixes every draw.
        models: `right`'s checkpoints, as DATASET:FILE:EPS.
        model: `speed`'s checkpoint.
        runs: the folder of `collapse`, which `table3` reads.
        scratch: for what is not kept.
        began: when the call began, on `time.monotonic`.

    """

    data_dir: Path
    minutes: float
    out: Path
    device: torch.device
    dry_run: bool
    seed: int
    models: tuple[str, ...]
    model: Path | None
    runs: Path | None
    scratch: Path
    began: float

    def open(self, stage: str, settings: dict[str, Any]) -> tuple[Results, Deadline]:
        """The stage's folder and clock.

        Raises:
            RobauditError: the folder holds something else.

        """
        kept = {**settings, "seed": self.seed, "dry_run": self.dry_run}
        results = Results(self.out, stage, kept, device_name(self.device))
        return results, Deadline(self.minutes, results.took, self.began)

    def data(self, **wanted: Sequence[str]) -> Path:
        """Where `load_images` finds the wanted splits of each data set."""
        return data_folder(
            self.data_dir, self.scratch / "data", {name: tuple(splits) for name, splits in wanted.items()}
        )


def pick_device(name: str) -> torch.device:
    """`auto` is the accelerator that torch has, else the CPU.

    Raises:
        RobauditError: no such device here.

    """
    try:
        if name == "auto":
            found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            return found or CPU
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RobauditError(f"device '{name}': cannot be used ({reason}); pass --device cpu") from error
    return device


def device_name(device: torch.device) -> str:
    """Such as `cuda (NVIDIA ...)`."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given; times mean nothing before."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)
