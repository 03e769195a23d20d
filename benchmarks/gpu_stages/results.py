"""The folder that a stage writes: small, whole at any moment, and resumed by a later call.

`results.json` holds what the parts found, `table.md` says it, and what is larger lies beside them, in numbered pieces
where it must. All of it stays within what a narrow way back takes: 8 files of 15 MB, 60 MB together.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_stages import pieces
from gpu_stages.deadline import TimeIsUp
from robaudit.errors import RobauditError

#: Files and bytes of a folder at most.
MOST_FILES, MOST_BYTES = 8, 60_000_000
RESULTS, TABLE = "results.json", "table.md"
#: Room that is left for these two to grow.
_GROWTH = 200_000


class Results:
    """What a stage has found so far.

    Attributes:
        folder: where it is kept.
        parts: what each part found, JSON-ready, by its name.
        took: seconds that parts took on this device.
        failed: what went wrong in the parts that failed in the last call, which are made again in the next.
        left_out: files that there was no room for, and why.

    """

    def __init__(self, folder: Path, stage: str, settings: dict[str, Any], device: str) -> None:
        """Begin in `folder`, or resume what an earlier call left there.

        Args:
            folder: made where it is missing.
            stage: the stage's name.
            settings: JSON-ready; results of other settings do not belong into the same folder.
            device: the device's name, by which times are kept.

        Raises:
            RobauditError: the folder holds something else, or cannot be made or read.

        """
        self.folder, self.stage, self.settings = folder, stage, json.loads(json.dumps(settings))
        self.parts: dict[str, Any] = {}
        self._times: dict[str, dict[str, float]] = {}
        self.left_out: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RobauditError(
                f"{folder}: cannot be created ({error.strerror}); choose another --out"
            ) from error
        if (folder / RESULTS).exists():
            self._go_on()
        self.took = self._times.setdefault(device, {})

    def _go_on(self) -> None:
        path = self.folder / RESULTS
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            stage, settings = before["stage"], before["settings"]
            self.parts, self._times, self.left_out = before["parts"], before["times"], before["left_out"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RobauditError(
                f"{path}: cannot be resumed ({type(error).__name__}); choose another --out"
            ) from error
        if stage != self.stage:
            raise RobauditError(f"{self.folder}: holds the stage '{stage}'; choose another --out")
        different = [
            name for name in {**settings, **self.settings} if settings.get(name) != self.settings.get(name)
        ]
        if different:
            settings = "; ".join(
                f"{name} {_short(settings.get(name))} there and {_short(self.settings.get(name))} now"
                for name in different
            )
            raise RobauditError(f"{self.folder}: holds other results ({settings}); choose another --out")

    def put(self, part: str, found: Any) -> None:
        """Keep what a part found, on the disk at once."""
        self.parts[part] = found
        self.write()

    def attempt(self, part: str, run: Callable[[], Any], kind: str = "") -> None:
        """Keep what `run` finds; where it fails, why: the other parts are worth making all the same.

        Args:
            part: its name.
            run: makes it; what it gives is JSON-ready.
            kind: the name by which its time is kept, for the next forecast; by default its own.

        Raises:
            TimeIsUp: as `run` does.

        """
        began = time.monotonic()
        try:
            found = run()
            self.took[kind or part] = time.monotonic() - began
            self.put(part, found)
        except TimeIsUp:
            raise
        except Exception as error:
            traceback.print_exc()
            self.failed[part] = f"{type(error).__name__}: {str(error).strip() or 'no message'}"[:200]
            self.write()

    def write(self) -> None:
        """Everything but the files beside it, to the disk."""
        whole = {
            "stage": self.stage,
            "settings": self.settings,
            "parts": self.parts,
            "times": self._times,
            "failed": self.failed,
            "left_out": self.left_out,
        }
        write_whole(self.folder / RESULTS, json.dumps(whole, indent=1).encode())

    def held(self, name: str) -> bytes | None:
        """A file that `keep` wrote; None where there is none."""
        return pieces.read(self.folder, name)

    def keep(self, name: str, data: bytes) -> bool:
        """Write a file, in pieces where it is large; False, and said in `left_out`, where there is no room for it."""
        new = pieces.pieces_of(name, data)
        old = pieces.files_of(self.folder, name)
        own = [self.folder / RESULTS, self.folder / TABLE]
        others = [path for path in self.folder.iterdir() if path not in (*old, *own)]
        files = len(own) + len(others) + len(new)
        taken = sum(path.stat().st_size for path in own if path.exists()) + _GROWTH
        size = taken + sum(path.stat().st_size for path in others) + sum(map(len, new.values()))
        if files > MOST_FILES or size > MOST_BYTES:
            kept = "; an older one is kept" if old else ""
            self.left_out[name] = f"no room for its {len(data) / 1e6:.1f} MB{kept}"
            return False
        for piece, content in new.items():
            write_whole(self.folder / piece, content)
        for path in old:
            if path.name not in new:
                path.unlink()
        self.left_out.pop(name, None)
        return True

    def drop(self, name: str) -> None:
        """Remove a file that is no longer needed."""
        for path in pieces.files_of(self.folder, name):
            path.unlink()
        self.left_out.pop(name, None)

    def say(self, table: str) -> None:
        """Print the stage's table, and keep it."""
        lines = [table.rstrip()]
        lines += [f"{part}: FAILED, {why.splitlines()[0]}" for part, why in self.failed.items()]
        lines += [f"{name}: left out, {why}" for name, why in self.left_out.items()]
        text = "\n".join(lines) + "\n"
        self.write()
        write_whole(self.folder / TABLE, text.encode())
        print(text, flush=True)


def write_whole(path: Path, data: bytes) -> None:
    """The whole file or none of it.

    Raises:
        RobauditError: it cannot be written.

    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RobauditError(
            f"{path}: cannot be written ({error.strerror}); free space and run again"
        ) from error


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
