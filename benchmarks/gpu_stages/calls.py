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
from robaudit.devices import describe
from robaudit.training.settings import TrainExecution

CPU = torch.device("cpu")
#: Settings of `collapse`'s run that a flag may change, by their names in `TrainSettings` and `Inner`.
CHANGES = ("beta", "batch_size", "lr", "eps", "schedule", "epochs", "limit", "validation", "batch_metrics")


@dataclass(frozen=True)
class Call:
    """What the flags say.

    Attributes:
        data_dir: holds the data sets or their archives.
        minutes: of the whole call.
        out: the stage's folder.
        device: where to compute.
        execution: of the trainer's passes.
        dry_run: tiny sizes, to see that every line runs.
        seed: fixes every draw.
        models: `right`'s checkpoints, as DATASET:FILE:EPS.
        model: `speed`'s checkpoint.
        runs: the folder of `collapse`, which `table3` reads.
        changes: `collapse`'s settings other than the paper's, by the names of `CHANGES`.
        scratch: for what is not kept.
        began: when the call began, on `time.monotonic`.

    """

    data_dir: Path
    minutes: float
    out: Path
    device: torch.device
    execution: TrainExecution
    dry_run: bool
    seed: int
    models: tuple[str, ...]
    model: Path | None
    runs: Path | None
    changes: dict[str, Any]
    scratch: Path
    began: float

    def open(self, stage: str, settings: dict[str, Any]) -> tuple[Results, Deadline]:
        """The stage's folder and clock.

        Raises:
            RobauditError: the folder holds something else.

        """
        kept = {**settings, "seed": self.seed, "dry_run": self.dry_run}
        results = Results(self.out, stage, kept, describe(self.device))
        return results, Deadline(self.minutes, results.took, self.began)

    def data(self, **wanted: Sequence[str]) -> Path:
        """Where `load_images` finds the wanted splits of each data set."""
        return data_folder(
            self.data_dir, self.scratch / "data", {name: tuple(splits) for name, splits in wanted.items()}
        )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)
