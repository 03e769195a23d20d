"""What a run keeps on disk, each file written beside its place and moved there when complete.

`resume.pt` alone is enough to go on: weights, optimiser, counters, the log so far. It is written after the files made
from the same moment, so that a run killed between two writes repeats what it lost and writes them again.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

import robaudit
from robaudit.errors import RobauditError
from robaudit.files import clear_leftovers, read_text, replacing
from robaudit.inputs import Classifier, load_classifier, read_saved
from robaudit.reports.run_best import BEST as CONFIRMED
from robaudit.reports.run_best import read_best
from robaudit.training.network import TOLD, Shape, Trained, save
from robaudit.training.settings import TrainSettings

if sys.platform != "win32":
    import fcntl

LOG, RESUME, BEST, LAST, BATCHES, SETTINGS = (
    "log.jsonl",
    "resume.pt",
    "best.safetensors",
    "last.safetensors",
    "batches.jsonl",
    "settings.json",
)
#: Of `resume.pt`; 1 was before `robust` was measured, 2 before the kept network met AutoAttack.
FORMAT = 3
Row = dict[str, Any]
#: Bytes of what is kept of the best network.
_LONGEST = 1 << 16


class Folder:
    """A run's folder.

    Args:
        path: made by `held`.
        settings: the run's, which a resumed run must repeat.
        data: the sha256 of the data.

    """

    def __init__(self, path: Path, settings: TrainSettings, data: str) -> None:
        self.path, self._settings, self._data = path, settings, data

    @contextmanager
    def held(self) -> Iterator[None]:
        """For this process alone while the block runs, made where it is missing; what a killed run half wrote goes.

        Raises:
            RobauditError: it cannot be created, or another run is under way in it.

        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = os.open(self.path, os.O_RDONLY) if sys.platform != "win32" else None
        except OSError as error:
            raise RobauditError(
                f"{self.path}: cannot be created ({error.strerror}); choose another --out"
            ) from error
        try:
            if held is not None:
                self._lock(held)
            clear_leftovers(self.path, 0)
            yield
        finally:
            if held is not None:
                os.close(held)

    def _lock(self, descriptor: int) -> None:
        """A process that dies lets go of it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RobauditError(
                f"{self.path}: another run is under way in it; wait for that or choose another --out"
            ) from error
        except OSError:  # a file system without locks
            pass

    def write_settings(self, command: str) -> None:
        """Everything that fixes the run, for people and programs: nothing is read from it again.

        Args:
            command: a line for a shell that repeats the run; empty where Python made it.

        """
        fixed = {"settings": self._settings.to_dict(), "data": {"sha256": self._data}, "command": command}
        versions = {
            "robaudit": robaudit.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        text = json.dumps(fixed | {"versions": versions}, indent=2) + "\n"
        write_text(self.path / SETTINGS, text)

    def save_weights(
        self, network: Trained | Classifier, shape: Shape, row: Row, names: tuple[str, ...]
    ) -> None:
        """The weights, with what is known of them, under each name."""
        for name in names:
            save(network, self.path / name, self._settings, shape, row)

    def save_confirmed(self, shape: Shape, row: Row, count: int, found: Row) -> None:
        """What the best network is worth, in a file of its own and beside its weights."""
        if found or self._tells_more():
            best = load_classifier(str(self.path / BEST), force=True)
            self.save_weights(best, shape, row | found, (BEST,))
        known = {name: row[name] for name in TOLD if name in row}
        content = {"asked": count, **known, **found}
        write_text(self.path / CONFIRMED, json.dumps(content, indent=2) + "\n")

    def _tells_more(self) -> bool:
        """Whether the weights' metadata may hold what an earlier number of examples gave."""
        try:
            return "luck" in (read_best(self.path) or {})
        except RobauditError:
            return True

    def confirmed(self, epoch: int, count: int) -> bool:
        """Whether that has been done for this epoch, on this many examples; a damaged file is made anew."""
        try:
            content = read_best(self.path)
        except RobauditError:
            return False
        return content is not None and (content["epoch"], content["asked"]) == (epoch, count)

    def write_logs(self, rows: list[Row], batches: list[Row]) -> None:
        """An object an epoch, and one a batch with metrics of its own."""
        for name, items in ((LOG, rows), (BATCHES, batches)):
            if items or name == LOG:
                write_text(self.path / name, "".join(json.dumps(item) + "\n" for item in items))

    def save_state(self, state: dict[str, Any]) -> None:
        """Everything that a run is resumed from: tensors, numbers, texts, lists and dicts only.

        Raises:
            RobauditError: it cannot be written.

        """
        content = {"format": FORMAT, "settings": self._settings.to_dict(), "data": self._data}
        with _whole(self.path / RESUME) as file:
            torch.save(_on_cpu(state) | content, file)

    def load_state(self) -> dict[str, Any] | None:
        """What `save_state` wrote; None where no run has been.

        Raises:
            RobauditError: another run lies there, or an older version's, or the file is damaged.

        """
        path = self.path / RESUME
        if not path.exists():
            left = [name for name in (LOG, BEST, LAST) if (self.path / name).exists()]
            if left and not self._began_here():
                raise RobauditError(f"{self.path}: holds {left[0]} but no {RESUME}; choose another --out")
            return None
        with self.resuming():
            state: dict[str, Any] = read_saved(path)
            before, version = TrainSettings.from_dict(state["settings"]), int(state["format"])
        if version != FORMAT:
            how = "an older" if version < FORMAT else "a newer"
            raise RobauditError(
                f"{self.path}: holds a run of {how} version of robaudit, which measured other things after each epoch; "
                "`robaudit report` shows it; choose another --out to train, or finish it with that version"
            )
        self._compare(before, state["data"])
        return state

    def _began_here(self) -> bool:
        """Whether what lies here is of this very run, killed before there was anything to resume from."""
        try:
            found = json.loads(read_text(self.path / SETTINGS, _LONGEST))
            before = TrainSettings.from_dict(found["settings"])
            return not self._settings.differences(before) and found["data"] == {"sha256": self._data}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    @contextmanager
    def resuming(self) -> Iterator[None]:
        """Whatever a damaged state makes of the block.

        Raises:
            RobauditError: something went wrong in it.

        """
        path = self.path / RESUME
        try:
            yield
        except Exception as error:
            text = str(error).removeprefix(f"{path}: ")
            reason = text.splitlines()[0] if text else type(error).__name__
            reason = reason.partition("; download it again")[0]
            raise RobauditError(
                f"{path}: cannot be resumed ({reason[:120]}); choose another --out, or remove it to begin anew"
            ) from error

    def _compare(self, before: TrainSettings, data: str) -> None:
        different = self._settings.differences(before)
        if different:
            old, new = ({name: _of(item, name) for name in different} for item in (before, self._settings))
            named = ", ".join(f"{name} {old[name]!s} there and {new[name]!s} now" for name in different)
            raise RobauditError(
                f"{self.path}: holds another run ({named}); choose another --out, or the same settings"
            )
        if data != self._data:
            raise RobauditError(
                f"{self.path}: holds a run on other data of the same name; choose another --out"
            )


def unlike(path: Path, row: Row) -> str:
    """In what a file of weights is not that of the epoch `row`; empty where it is."""
    if path.is_symlink() or not path.is_file():
        return "it is no plain file"
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        return f"it is damaged: {str(error).splitlines()[0]:.80}"
    return "" if told.get("epoch") == str(row["epoch"]) else "it is of another epoch"


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once it is complete and on the disk.

    Raises:
        RobauditError: the place cannot be written.

    """
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            yield file
    except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError where the disk is full
        reason = getattr(error, "strerror", None) or "the disk may be full"
        refused = getattr(error, "errno", None) in (errno.EPERM, errno.EACCES, errno.EROFS)
        what = "make the folder writable" if refused else "free space"
        raise RobauditError(f"{path}: cannot be written ({reason}); {what} and run again") from error


def write_text(path: Path, text: str) -> None:
    """The whole file or none of it.

    Raises:
        RobauditError: the place cannot be written.

    """
    with _whole(path) as file:
        file.write(text.encode())


def _on_cpu(value: Any) -> Any:
    """The same with every tensor on the CPU: a run may be resumed where its device is not."""
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _of(settings: TrainSettings, name: str) -> Any:
    first, _, second = name.partition(".")
    value = getattr(settings, first)
    return getattr(value, second) if second else value
