"""An audit's progress as bars on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as rich
from rich.console import Console

from robaudit.audit.progress import Progress


class Bars:
    """Progress bars for a terminal: one an attack, with its rate, its breaks so far and the time left."""

    def __init__(self, bars: rich.Progress):
        self._bars = bars
        self._tasks: dict[str, rich.TaskID] = {}
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

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Progress | None]:
    """Bars on standard error while the block runs; None where nobody looks at a terminal."""
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
