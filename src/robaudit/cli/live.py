"""What is seen of a training run: a bar and a line an epoch on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.errors import RobauditError
from robaudit.escaping import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from robaudit.training import StepResult, TrainProgress


def line(row: dict[str, Any]) -> str:
    """One epoch as a line of text."""
    marks = [f"{row['healing']} batches treated"] if row.get("healing") else []
    marks += ["rolled back"] if row.get("rolled_back") else []
    marks += ["MASKED"] if row.get("masked") else []
    marks += ["healed itself"] if row.get("healed_itself") else []
    return (
        f"epoch {row['epoch']:3.0f}  clean {100 * row['clean']:5.1f}  PGD-10 {100 * row['pgd10']:5.1f}  {_robust(row)}"
        f"FOSC {row['fosc']:.4g} ({row['fosc_normalised']:.3f})  SGCS {row['sgcs']:.3f}  "
        f"train {100 * row['train_clean']:.1f} / {100 * row['train_adv']:.1f}  lr {row['lr']:.3g}"
        + "".join(f"  {mark}" for mark in marks)
    )


def _robust(row: dict[str, Any]) -> str:
    """Empty for logs of older versions."""
    value = row.get("robust")
    if not isinstance(value, int | float):
        return ""
    star = "*" if row.get("best") == row["epoch"] else " "
    count = row.get("robust_examples")
    return f"robust {100 * value:5.1f}{star} {f'of {count:<4}' if isinstance(count, int) else ''} "


class Lines:
    """A line an epoch, for a log file or a batch queue."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """Nothing."""

    def step(self, result: StepResult) -> None:
        """Nothing."""

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Its line."""
        self._out.print(plain(line(row)), markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line."""
        self._out.print(plain(text), markup=False, soft_wrap=True)


class Screen:
    """A bar for the epoch and a line for each that is done."""

    def __init__(self, bars: Progress, out: Console) -> None:
        self._bars, self._out = bars, out
        self._task = bars.add_task("", total=1, detail="")

    def begin_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """A new bar."""
        self._bars.reset(self._task, total=steps, completed=done, description=f"epoch {epoch}/{epochs}")

    def step(self, result: StepResult) -> None:
        """Move the bar."""
        detail = (
            f"loss {result.mean('loss'):.3f}, train {100 * result.mean('train_clean'):.0f} / "
            f"{100 * result.mean('train_adv'):.0f} %, FOSC {result.mean('fosc'):.3f}"
        )
        self._bars.update(self._task, advance=1, detail=detail)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """A line above the bar."""
        self._out.print(plain(line(row)), style="red" if row["masked"] else "", markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._out.print(plain(text), style="yellow", markup=False, soft_wrap=True)


def report_run(folder: Path, out: str | None, form: str = "terminal") -> int:
    """A run's epochs and curves, or a page of both.

    Raises:
        RobauditError: another format, or the folder is not a run's.

    """
    from robaudit.cli.common import check_apart, check_writable, console, write_text
    from robaudit.reports import PICTURE_FORMATS
    from robaudit.reports.run_curves import read_log
    from robaudit.reports.run_page import FILES, unfinished_words

    check_writable(out)
    check_apart(inputs=[folder / name for name in FILES], out=out)
    if form == "html":
        from robaudit.reports.run_page import run_page

        write_text(out or "-", run_page(folder))
        return 0
    if form != "terminal":
        raise RobauditError(f"format '{form}' is not made of a training run; use terminal or html")
    from robaudit.reports.run_plots import draw_run

    screen = console()
    picture = Path(out) if out else folder / "curves.png"
    if picture.suffix not in PICTURE_FORMATS:
        raise RobauditError(
            f"{picture}: unknown kind of picture; end its name in {' or '.join(PICTURE_FORMATS)}"
        )
    rows = read_log(folder)
    for row in rows:
        screen.print(plain(line(row)), markup=False, soft_wrap=True)
    if unfinished := unfinished_words(folder, rows):
        screen.print(plain(unfinished), markup=False, soft_wrap=True)
    drawn = draw_run(folder, picture)
    for path in drawn:
        screen.print(plain(f"curves: {path}"), markup=False, soft_wrap=True)
    return 0


@contextmanager
def watched(quiet: bool) -> Iterator[TrainProgress]:
    """Who is told of the run while the block runs: a terminal gets a bar too; with `quiet` nobody."""
    from rich import progress as rich
    from rich.console import Console

    from robaudit.torchrun import is_first_process
    from robaudit.training import Silent

    screen = Console(stderr=True, highlight=False, emoji=False)
    if quiet or not screen.is_terminal:
        yield Lines(screen) if is_first_process() and not quiet else Silent()
        return
    columns = (
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[detail]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=screen, transient=True) as bars:
        yield Screen(bars, screen)
