"""An audit's progress: a live view on a terminal or in a notebook, plain lines anywhere else."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import progress as rich
from rich.console import Console, RenderableType
from rich.text import Text

from robaudit.audit.outlook import Outlook
from robaudit.audit.progress import Progress
from robaudit.escaping import plain
from robaudit.plan import title
from robaudit.torchrun import is_first_process

#: Seconds after which a line is written though nothing ended, where there is no terminal.
QUIET_SECONDS = 30.0


class Tally:
    """What is known of a stage: examples of how many, breaks, passes, and for how long it has worked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.total = self.done = self.broken = self.passes = 0
        self._clock, self._worked, self._since = clock, 0.0, 0.0

    def begin(self, total: int) -> None:
        """More to do."""
        self.total += total
        self._since = self._clock()

    def advance(self, examples: int, broken: int, passes: int) -> None:
        """Some of it done."""
        self.done += examples
        self.broken += broken
        self.passes += passes

    def end(self) -> None:
        """A stretch is over; time between stretches is not this stage's."""
        self._worked += self._clock() - self._since

    def summary(self) -> str:
        """Breaks and speed."""
        worked = self._worked + self._clock() - self._since if self.done < self.total else self._worked
        rate = f", {self.passes / worked:,.0f} passes/s" if self.passes and worked > 0.5 else ""
        return f"{self.broken} broken{rate}" if self.passes else ""


class _View(rich.Progress):
    """Bars under a line on what is known of the verdict, and over one on the time left."""

    headline = ""
    outlook: Outlook | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """The line, then the bars, then the time left in all."""
        if self.headline:
            yield Text(self.headline, style="bold")
        yield from super().get_renderables()
        if self.outlook and (left := self.outlook.time_left()):
            yield Text(left, style="cyan")


class Bars:
    """For a terminal: a bar an attack, with its breaks and speed, and above them the gaps against their bounds."""

    def __init__(self, view: _View):
        self._view = view
        self.outlook = view.outlook = Outlook()
        self.expect, self.reach = self.outlook.expect, self.outlook.reach
        self._tasks: dict[str, rich.TaskID] = {}
        self._tallies: dict[str, Tally] = {}

    def begin(self, stage: str, total: int) -> None:
        """A new bar, or more for one that is there."""
        if stage not in self._tasks:
            self._tallies[stage] = Tally()
            self._tasks[stage] = self._view.add_task(title(stage), total=0, detail="")
        tally = self._tallies[stage]
        tally.begin(total)
        self.outlook.begin(stage, total)
        self._view.update(self._tasks[stage], total=tally.total)

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Move the bar."""
        tally = self._tallies[stage]
        tally.advance(examples, broken, passes)
        self.outlook.advance(stage, examples, broken, passes)
        self._view.update(self._tasks[stage], advance=examples, detail=tally.summary())

    def end(self, stage: str) -> None:
        """The bar stays, full."""
        self._tallies[stage].end()

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._view.console.print(plain(text), style="yellow", markup=False, highlight=False, soft_wrap=True)

    def look(self, text: str) -> None:
        """The line over the bars."""
        self._view.headline = plain(text)
        self._view.refresh()


class Lines:
    """For a log: a line when an attack begins, one of each at the end, and one every half minute at least."""

    def __init__(self, write: Callable[[str], None], seconds: float = QUIET_SECONDS):
        self._write, self._seconds = write, seconds
        self._tallies: dict[str, Tally] = {}
        self._stage = self._gaps = ""
        self.outlook = Outlook()
        self.expect, self.reach = self.outlook.expect, self.outlook.reach
        self._last, self._over = time.monotonic(), threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._beat, daemon=True)
        self._watch.start()

    def begin(self, stage: str, total: int) -> None:
        """The first time, its line."""
        first = stage not in self._tallies
        self._tallies.setdefault(stage, Tally()).begin(total)
        self.outlook.begin(stage, total)
        self._stage = stage
        if first:
            self._say(f"{title(stage)}: {total} to do")

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Counted."""
        self._tallies[stage].advance(examples, broken, passes)
        self.outlook.advance(stage, examples, broken, passes)

    def end(self, stage: str) -> None:
        """Counted."""
        self._tallies[stage].end()

    def note(self, text: str) -> None:
        """A line."""
        self._say(text)

    def look(self, text: str) -> None:
        """Said with the next line."""
        self._gaps = text

    def close(self) -> None:
        """A last line for each attack, and no more."""
        self._over.set()
        self._watch.join()
        for stage, tally in self._tallies.items():
            if tally.passes:
                self._say(f"{title(stage)}: {tally.done} done, {tally.summary()}")

    def _beat(self) -> None:
        while not self._over.wait(max(0.0, self._last + self._seconds - time.monotonic())):
            if time.monotonic() - self._last < self._seconds:
                continue
            tally = self._tallies.get(self._stage)
            text = "working"
            if tally:
                text = f"{title(self._stage)}: {tally.done} of {tally.total} done, {tally.summary()}"
            self._say("; ".join(part for part in (text, self._gaps, self.outlook.time_left()) if part))

    def _say(self, text: str) -> None:
        with self._lock:
            self._last = time.monotonic()
            self._write(plain(text))


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Progress | None]:
    """Who is told of an audit while the block runs, on standard error; None where nobody wants to know.

    A live view on a terminal and in a notebook that has ipywidgets; else lines, from the first process alone.
    """
    screen = Console(stderr=True, emoji=False)
    if quiet or not is_first_process():
        yield None
        return
    widgets = screen.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    if not (screen.is_terminal or widgets):
        lines = Lines(_to_stderr)
        try:
            yield lines
        finally:
            lines.close()
        return
    with _View(
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}", justify="left"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[detail]}"),
        rich.TimeElapsedColumn(),
        console=screen,
        transient=True,
    ) as view:
        yield Bars(view)
