"""What the commands share: the exit code of a verdict, the console, writing files, progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit import files
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from robaudit.audit import Progress as AuditProgress
    from robaudit.evidence import Header
    from robaudit.verdict import Verdict

_EXIT_CODES = {"not-overestimated": 0, "overestimated": 1, "inconclusive": 3}


def exit_code(verdict: Verdict) -> int:
    """1 when overestimated or the claim is refuted, 3 when either is open, else 0."""
    codes = {_EXIT_CODES[verdict.outcome]}
    if verdict.claim:
        codes.add({"refuted": 1, "consistent": 0, "inconclusive": 3}[verdict.claim.outcome])
    return next(code for code in (1, 3, 0) if code in codes)


def image_shape(header: Header) -> tuple[int, int, int] | None:
    """(C, H, W) of the images that evidence is about; None where its header does not say three sizes."""
    sizes = [int(size) for size in header.data["shape"]]
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 and all(0 < n < 1 << 14 for n in sizes) else None


def console() -> Console:
    """Standard output; plain and wide enough for a table when it is not a terminal."""
    from rich.console import Console

    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=110)


def write_text(path: str, text: str) -> None:
    """Write `text` to `path` at once or not at all; `-` is standard output.

    Raises:
        RobauditError: it cannot be written.

    """
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.write_text(Path(path), text)
    except OSError as error:
        raise RobauditError(f"{path}: cannot be written ({error.strerror}); choose another path") from error


def check_writable(path: str | None) -> None:
    """Refuse an output that cannot be written before any work is done for it."""
    if path is None or path == "-":
        return
    target = Path(path)
    if target.is_dir():
        raise RobauditError(f"{path}: is a folder; give a file name")
    if not target.parent.is_dir():
        raise RobauditError(f"{target.parent}: no such folder; create it or choose another path")


def check_present(*models: str) -> None:
    """Refuse a path that does not exist before anything slow is imported; `KIND:NAME` is looked up later.

    Raises:
        RobauditError: no such file.

    """
    for model in models:
        if ":" not in model and not Path(model).expanduser().exists():
            raise RobauditError(f"{model}: no such file or directory; pass a checkpoint's path")


class Bars:
    """Progress bars for a terminal: one an attack, with its rate, its breaks so far and the time left."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._broken: dict[str, int] = {}
        self._passes: dict[str, int] = {}

    def begin(self, stage: str, total: int) -> None:
        """A new bar, or more for one that is there."""
        if stage in self._tasks:
            known = self._bars.tasks[self._tasks[stage]].total or 0
            self._bars.update(self._tasks[stage], total=known + total)
        else:
            self._tasks[stage] = self._bars.add_task(stage, total=total, detail="")
            self._broken[stage] = self._passes[stage] = 0

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Move the bar."""
        self._broken[stage] += broken
        self._passes[stage] += passes
        task = self._bars.tasks[self._tasks[stage]]
        elapsed = task.elapsed or 0
        rate = f", {self._passes[stage] / elapsed:,.0f} passes/s" if elapsed > 0.5 else ""
        self._bars.update(self._tasks[stage], advance=examples, detail=f"{self._broken[stage]} broken{rate}")

    def end(self, stage: str) -> None:
        """Nothing: the bar stays, full."""


@contextmanager
def progress(quiet: bool = False) -> Iterator[AuditProgress | None]:
    """Bars on standard error while the block runs; None where nobody looks at a terminal."""
    from rich import progress as rich
    from rich.console import Console

    screen = Console(stderr=True)
    if quiet or not screen.is_terminal:
        yield None
        return
    with rich.Progress(
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}", justify="left"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[detail]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        console=screen,
        transient=True,
    ) as bars:
        yield Bars(bars)
