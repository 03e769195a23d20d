"""What is said of a training run when it is over, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robaudit.cli.training import TrainRequest
    from robaudit.training import TrainSettings

Row = dict[str, Any]
#: Epochs that are named one by one.
_NAMED = 12


def command_line(settings: TrainSettings, request: TrainRequest) -> str:
    """A line for a shell that makes the same run, every setting spelled out: later defaults do not change it."""
    flags = {name: value for name, value in asdict(settings).items() if name not in ("inner", "start_from")}
    flags |= asdict(settings.inner) | {
        "out": request.out,
        "data_dir": request.data_dir,
        "from": request.start,
        "log": request.log,
    }
    words = ["robaudit", "train"]
    for name, value in flags.items():
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    words += [f"--{name}" for name in ("download", "quiet") if getattr(request, name)]
    return shlex.join(words)


def summary(rows: list[Row], settings: TrainSettings, request: TrainRequest) -> list[str]:
    """The lines: how it ended, what the healer did, and last what was kept, why, and what to run next.

    Args:
        rows: of the log.
        settings: of the run.
        request: where it is.

    """
    last = rows[-1]
    ended = (
        f"{len(rows)} epochs; the last: clean {_percent(last['clean'])}, {_robust(last)}, "
        f"PGD-10 {_percent(last['pgd10'])}, FOSC {last['fosc']:.4g} (normalised {last['fosc_normalised']:.3f}), "
        f"SGCS {last['sgcs']:.3f}"
    )
    return [ended, *_masking(rows, settings), _kept(rows, settings, request)]


def _masking(rows: list[Row], settings: TrainSettings) -> Iterator[str]:
    masked = [row for row in rows if row["masked"]]
    if masked:
        yield f"became masked in {_epochs(masked)}{'; --heal acts on that' * (settings.heal == 'off')}"
    elif settings.heal == "auto":
        yield "no epoch became masked, so the healer changed nothing"
    tried = [row for row in rows if row.get("tried")]
    kept = [row for row in tried if row["treatment"]]
    if kept:
        named = ", ".join(f"{row['treatment']} from epoch {row['epoch']} on" for row in kept[:_NAMED])
        yield f"treatments that did better than none were kept for a while: {named}"
    if len(kept) < len(tried):
        left = [row for row in tried if not row["treatment"]]
        yield f"no treatment did better than none in {_epochs(left)}, and the run was left alone there"
    if settings.heal == "paper" and any(row["healing"] for row in rows):
        yield f"noise in the first batches of {_epochs([row for row in rows if row['healing']])}"


def _kept(rows: list[Row], settings: TrainSettings, request: TrainRequest) -> str:
    from robaudit.training.checkpoints import BEST, LAST

    kept = next((row for row in rows if row["epoch"] == rows[-1]["best"]), None)
    name = "robust accuracy" if settings.select == "robust" else "PGD-10 accuracy"
    row, file = kept or rows[-1], BEST if kept else LAST
    path = request.out / file
    check = [
        "robaudit",
        "check",
        str(path),
        "--dataset",
        request.dataset,
        "--eps",
        f"{settings.inner.eps:.6g}",
    ]
    check += ["--evidence", str(request.out / "best.evidence")]
    if request.data_dir:
        check += ["--data-dir", str(request.data_dir)]
    why = f"of the highest {name}" if kept else "the last, for no epoch was fit to be the best"
    return (
        f"kept: {path} (epoch {row['epoch']}, {why}): clean {_percent(row['clean'])}, {_robust(row)}, "
        f"PGD-10 {_percent(row['pgd10'])}; next: {shlex.join(check)}"
    )


def _robust(row: Row) -> str:
    low, high = (f"{100 * row[name]:.1f}" for name in ("robust_low", "robust_high"))
    return f"robust {_percent(row['robust'])} ({low} … {high}, of {row['robust_examples']} held out)"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _epochs(rows: list[Row]) -> str:
    named = ", ".join(str(row["epoch"]) for row in rows[:_NAMED])
    return f"epoch{'s' * (len(rows) > 1)} {named}{' …' * (len(rows) > _NAMED)}"
