"""What is said of a training run when it is over, and the command that repeats it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from robaudit.reports.run_best import read_best, why_best, why_less, worth

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
        f"{len(rows)} epoch{'s' * (len(rows) > 1)}; the last: {worth(last, settings.validation)}, "
        f"FOSC {last['fosc']:.4g} (normalised {last['fosc_normalised']:.3f}), SGCS {last['sgcs']:.3f}"
    )
    return [ended, *_masking(rows, settings), *_kept(rows, settings, request)]


def _masking(rows: list[Row], settings: TrainSettings) -> Iterator[str]:
    masked = [row for row in rows if row["masked"]]
    if masked:
        yield f"was masked in {_epochs(masked)}{'; --heal acts on that' * (settings.heal == 'off')}"
        if settings.heal == "auto" and masked[-1] is rows[-1]:
            yield "the last epoch is masked, and there was none after it to treat that in: train for more epochs"
    elif settings.heal == "auto":
        yield "no epoch became masked, so the healer changed nothing"
    weak = any(row.get("weak") for row in rows)  # where PGD-10 deceives anyway, whatever the surface
    if not weak and (rugged := [row for row in rows if row.get("rugged")]):
        yield f"the loss surface was rugged, without deceiving PGD-10, in {_epochs(rugged)}"
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


def _kept(rows: list[Row], settings: TrainSettings, request: TrainRequest) -> Iterator[str]:
    from robaudit.training.checkpoints import BEST, LAST, unlike

    best = read_best(request.out)
    kept = next((row for row in rows if row["epoch"] == rows[-1]["best"]), None)
    row, file = (best or kept, BEST) if best or kept else (rows[-1], LAST)
    assert row is not None  # one of them
    most = settings.threshold if settings.heal == "paper" else math.inf
    why = why_best(row, rows, by_pgd10=settings.select == "pgd10", most_fosc=most)
    if file == LAST:
        why = f"epoch {row['epoch']}, the last, for no epoch was fit to be the best"
        why += f": each has a FOSC above {most:g} (--threshold)" * (most < math.inf)
    path = request.out / file
    if not path.exists():
        yield f"{path} is gone: train anew under another --out, or put it back"
        return
    if wrong := unlike(path, row):
        yield f"{path} is not what the run kept ({wrong}): train anew under another --out, or put it back"
        return
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
    if best and why_less(best):
        yield why_less(best)
    yield f"kept: {path} ({why}): {worth(row, settings.validation)}; next: {shlex.join(check)}"


def _epochs(rows: list[Row]) -> str:
    named = ", ".join(str(row["epoch"]) for row in rows[:_NAMED])
    return f"epoch{'s' * (len(rows) > 1)} {named}{' …' * (len(rows) > _NAMED)}"
