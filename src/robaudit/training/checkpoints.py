"""What a run keeps on disk, each file written beside its place and moved there when complete.

`resume.pt` alone is enough to go on: weights, optimiser, counters, the log so far. It is written after the files made
from the same moment, so that a run killed between two writes repeats what it lost and writes them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from robaudit.errors import RobauditError
from robaudit.files import replacing
from robaudit.training.settings import TrainSettings

LOG, RESUME, BEST, LAST, BATCHES = (
    "log.jsonl",
    "resume.pt",
    "best.safetensors",
    "last.safetensors",
    "batches.jsonl",
)
#: Of `resume.pt`.
FORMAT = 1


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once it is complete and on the disk.

    Raises:
        RobauditError: the place cannot be written.

    """
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise RobauditError(
            f"{path}: cannot be written ({error.strerror}); free space and run again"
        ) from error


def write_text(path: Path, text: str) -> None:
    """The whole file or none of it.

    Raises:
        RobauditError: the place cannot be written.

    """
    with _whole(path) as file:
        file.write(text.encode())


def write_log(folder: Path, rows: list[dict[str, Any]], name: str = LOG) -> None:
    """An object an epoch (or a batch), one a line."""
    write_text(folder / name, "".join(json.dumps(row) + "\n" for row in rows))


def save_state(folder: Path, settings: TrainSettings, data: str, state: dict[str, Any]) -> None:
    """Everything that a run is resumed from.

    Args:
        folder: the run's.
        settings: the run's, which a resumed run must repeat.
        data: the sha256 of the data.
        state: tensors, numbers, texts, lists and dicts only.

    Raises:
        RobauditError: it cannot be written.

    """
    whole = _on_cpu(state) | {"format": FORMAT, "settings": settings.to_dict(), "data": data}
    with _whole(folder / RESUME) as file:
        torch.save(whole, file)


def _on_cpu(value: Any) -> Any:
    """The same with every tensor on the CPU: a run may be resumed where its device is not."""
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return value.cpu() if isinstance(value, torch.Tensor) else value


def load_state(folder: Path, settings: TrainSettings, data: str) -> dict[str, Any] | None:
    """What `save_state` wrote in `folder`; None where no run has been.

    Raises:
        RobauditError: another run lies there, or the file is damaged.

    """
    path = folder / RESUME
    if not path.exists():
        left = [name for name in (LOG, BEST, LAST) if (folder / name).exists()]
        if left:
            raise RobauditError(f"{folder}: holds {left[0]} but no {RESUME}; choose another --out")
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        before = TrainSettings.from_dict(state["settings"])
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RobauditError(
            f"{path}: cannot be resumed ({reason[:120]}); choose another --out, or remove it to begin anew"
        ) from error
    different = settings.differences(before)
    if different:
        old, new = ({name: _of(item, name) for name in different} for item in (before, settings))
        named = ", ".join(f"{name} {old[name]!s} there and {new[name]!s} now" for name in different)
        raise RobauditError(
            f"{folder}: holds another run ({named}); choose another --out, or the same settings"
        )
    if state["data"] != data:
        raise RobauditError(f"{folder}: holds a run on other data of the same name; choose another --out")
    return state


def _of(settings: TrainSettings, name: str) -> Any:
    first, _, second = name.partition(".")
    value = getattr(settings, first)
    return getattr(value, second) if second else value
