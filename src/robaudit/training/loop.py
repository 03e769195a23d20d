"""The front door of the trainer: one run, made or resumed."""

from __future__ import annotations

from pathlib import Path

import torch

from robaudit.devices import failures_explained, out_of_memory
from robaudit.errors import RobauditError
from robaudit.inputs import Classifier, Images
from robaudit.ranks import joined
from robaudit.training.progress import Silent, TrainProgress
from robaudit.training.run import Row, Run
from robaudit.training.settings import TrainSettings


def train(
    settings: TrainSettings,
    images: Images,
    folder: Path,
    *,
    start: Classifier | None = None,
    progress: TrainProgress | None = None,
    command: str = "",
) -> list[Row]:
    """Train, or resume the unfinished run in `folder`, and return the log, one row an epoch.

    Args:
        settings: the whole run.
        images: the training split; `settings.validation` of them are held out.
        folder: gets the log, `best.safetensors`, `last.safetensors` and `resume.pt`; made where it is missing.
        start: weights to begin with instead of fresh ones; `settings.arch` must be its architecture.
        progress: told of everything.
        command: the shell's line that makes this run, for `settings.json`.

    Raises:
        RobauditError: the folder holds another run or cannot be written, or the loss was not finite.

    """
    device = torch.device(settings.device)
    kept = "the finished epochs are kept; the same command with --device cpu resumes from there"
    with failures_explained(device, kept), joined() as ranks:
        try:
            return Run(settings, images, folder, ranks, start, progress or Silent()).run(command)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise RobauditError(
                f"batch-size {settings.batch_size}: memory does not hold the data and a step; pass a smaller one"
            ) from error
