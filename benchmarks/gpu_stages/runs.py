"""A training run that ends when the time is over, or when what was looked for has happened, and can be resumed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpu_stages.deadline import Deadline, TimeIsUp
from gpu_stages.states import RESUME
from robaudit.inputs import Classifier, Images, build_architecture, save_classifier
from robaudit.training import StepResult, TrainSettings, train

Row = dict[str, Any]
LAST, BEST, HEALTHY = "last.safetensors", "best.safetensors", "healthy.safetensors"


class Found(Exception):  # noqa: N818  what the run was made for, and no error
    """An epoch is what was looked for."""


@dataclass
class Following:
    """A run's progress: keeps the last healthy weights, and ends the run.

    Attributes:
        folder: the run's.
        deadline: asked before every epoch and at every step.
        looked_for: whether an epoch ends the run.
        after: told after every epoch; the run's files are on the disk by then.

    """

    folder: Path
    deadline: Deadline
    looked_for: Callable[[Row], bool]
    after: Callable[[Row], None]
    began: float = 0.0

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """Not begun where it would not be done in time."""
        if not self.deadline.allows("epoch"):
            raise TimeIsUp
        self.began = time.monotonic()

    def step(self, result: StepResult) -> None:
        """Not resumed when it is too late; the epoch is lost, the run is not."""
        self.deadline.check()

    def end_epoch(self, row: Row) -> None:
        """Keep what is to be kept of it."""
        self.deadline.took["epoch"] = time.monotonic() - self.began
        found = self.looked_for(row)
        if not (found or row["masked"]):
            shutil.copyfile(self.folder / LAST, self.folder / HEALTHY)
        message = f"{self.folder.name}, epoch {row['epoch']}: clean {100 * row['clean']:.1f} %, "
        message += f"PGD-10 {100 * row['pgd10']:.1f} %, FOSC {row['fosc']:.4f}, SGCS {row['sgcs']:.3f}, "
        print(f"{message}{self.deadline.took['epoch']:.1f} s{', masked' * row['masked']}", flush=True)
        self.after(row)
        if found:
            raise Found

    def note(self, text: str) -> None:
        """Printed."""
        print(f"{self.folder.name}: {text}", flush=True)


def train_until(
    settings: TrainSettings, images: Images, following: Following, start: Classifier | None = None
) -> str:
    """Train until it is `done`, or `found`, or the time is `over`; what an earlier call left is resumed.

    Raises:
        RobauditError: the run could not be made, or its loss was not finite.

    """
    try:
        train(settings, images, following.folder, start=start, progress=following)
    except Found:
        return "found"
    except TimeIsUp:
        return "over"
    return "done"


def put_back(settings: TrainSettings, images: Images, folder: Path) -> None:
    """The last weights of a run whose `resume.pt` alone lies in `folder`; they are the last healthy ones."""
    state = torch.load(folder / RESUME, map_location="cpu", weights_only=True)
    channels, _, side = images.shape
    network = build_architecture(settings.arch, classes=images.classes, in_channels=channels, image_size=side)
    prefix = "network."
    kept = {
        name.removeprefix(prefix): tensor
        for name, tensor in state["network"].items()
        if name.startswith(prefix)
    }
    network.load_state_dict(kept)
    for name in (LAST, HEALTHY):
        save_classifier(
            network, folder / name, architecture=settings.arch, classes=images.classes,
            input_shape=images.shape, normalisation=settings.normalise,
        )  # fmt: skip


def log_of(folder: Path, name: str = "log.jsonl") -> list[Row]:
    """The rows of a run's log, or of its batch metrics in `batches.jsonl`."""
    path = folder / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
