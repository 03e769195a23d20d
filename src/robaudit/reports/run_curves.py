"""What a training run's curves are, from its log alone: one subject each, for the picture and for the page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from robaudit.errors import RobauditError
from robaudit.files import read_text

Rows = list[dict[str, Any]]

LOG = "log.jsonl"
#: What every epoch's line has, whichever version wrote it.
NUMBERS = (
    "epoch",
    "clean",
    "pgd10",
    "fosc",
    "fosc_normalised",
    "sgcs",
    "train_clean",
    "train_adv",
    "lr",
)
#: Bytes that a log may have, and lines: epochs, and batches with metrics of their own.
_LONGEST, _MOST_EPOCHS, _MOST_BATCHES = 1 << 27, 10_000, 1_000_000
#: Epochs and steps are counted to here, and no other finite number of a log is larger than this.
_LAST, _LARGEST = 1_000_000_000, 1e39
#: A value so many times the median leaves the others on the zero line.
_DWARFS = 30


@dataclass(frozen=True)
class Curve:
    """A number an epoch; NaN where the log has none. `low` and `high` are its interval, or empty."""

    name: str
    values: list[float]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Subject:
    """Curves on one scale.

    Attributes:
        title: what one sees.
        scale: its name.
        curves: on it.
        share: whether it is of shares from 0 to 1.
        log: whether a few values dwarf the others, so that only a logarithmic scale shows both.

    """

    title: str
    scale: str
    curves: list[Curve]
    share: bool = False
    log: bool = False


def read_log(folder: Path, name: str = LOG) -> Rows:
    """The objects of a run's log, an epoch each.

    Raises:
        RobauditError: there is no log, or it is damaged.

    """
    path = folder / name
    needed, most = (NUMBERS, _MOST_EPOCHS) if name == LOG else (("step",), _MOST_BATCHES)
    try:
        lines = read_text(path, _LONGEST).splitlines()
        if len(lines) > most:
            raise RobauditError(f"{path}: has {len(lines):,} lines, more than the {most:,} that are shown")
        rows: Rows = [json.loads(line) for line in lines]
    except OSError as error:
        if name == LOG and isinstance(error, FileNotFoundError) and (folder / "settings.json").exists():
            raise RobauditError(
                f"{path}: no epoch is finished yet; resume it with `robaudit train`"
            ) from error
        raise RobauditError(f"{path}: cannot be read ({error.strerror}); give the folder of a run") from error
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: is damaged ({error}); resume the run, which writes it anew") from error
    if not rows:
        raise RobauditError(f"{path}: no epoch is finished yet; resume it with `robaudit train`")
    for number, row in enumerate(rows, 1):
        wrong = wrong_in(row, needed)
        if wrong:
            raise RobauditError(
                f"{path}: is damaged (line {number}: {wrong}); resume the run, which writes it anew"
            )
    return rows


def wrong_in(row: object, needed: tuple[str, ...]) -> str:
    """What a run's numbers lack, the first of `needed` being their place; empty where nothing. It may have diverged."""
    if not isinstance(row, dict):
        return "no object"
    numbers = {name: value for name, value in row.items() if type(value) in (int, float)}
    lacking = [name for name in needed if name not in numbers]
    if lacking:
        return f"no number for {lacking[0]}"
    if not 0 <= numbers[needed[0]] <= _LAST:
        return f"{needed[0]} is not from 0 to {_LAST:,}"
    beyond = [name for name, value in numbers.items() if _LARGEST < abs(value) != math.inf]
    return f"{beyond[0]:.40} is beyond {_LARGEST:g}" if beyond else ""


def subjects(rows: Rows) -> list[Subject]:
    """Those that the log has numbers for."""
    low, high = (tuple(column(rows, name)) for name in ("robust_low", "robust_high"))
    found = [
        Subject(
            "Robust accuracy falls below PGD-10 where PGD-10 overestimates (Figure 2)",
            "held-out accuracy",
            [
                Curve("clean", column(rows, "clean")),
                Curve("PGD-10", column(rows, "pgd10")),
                Curve(f"robust (95 % interval{_of(rows)})", column(rows, "robust"), low, high),
            ],
            share=True,
        ),
        Subject(
            "What PGD-10 misses: a jump is masking, a level is a weak measure",
            "share of the held-out examples",
            [
                Curve("worst case of the attacks", column(rows, "gap")),
                Curve("Square's first queries", column(rows, "black_box_gap")),
            ],
        ),
        Subject(
            "PGD stops converging where normalised FOSC rises (Figures 2, 6)",
            "normalised FOSC",
            [Curve("normalised FOSC", column(rows, "fosc_normalised"))],
        ),
        Subject(
            "Gradients stop agreeing along PGD's way where SGCS falls (Figures 2, 7)",
            "SGCS",
            [Curve("SGCS", column(rows, "sgcs"))],
        ),
        Subject(
            "Training accuracies: a narrow gap beside a high FOSC is masking (Figure 3)",
            "training accuracy",
            [Curve("clean", column(rows, "train_clean")), Curve("adversarial", column(rows, "train_adv"))],
            share=True,
        ),
        Subject(
            "FOSC as the paper plots it (Figure 3)",
            "FOSC",
            [Curve("FOSC", column(rows, "fosc"))],
            log=_wide(column(rows, "fosc")),
        ),
        Subject(
            "The weights' gradient grows before a collapse (Figure 5)",
            "gradient norm",
            [Curve("gradient norm", column(rows, "w_grad_norm"))],
        ),
    ]
    kept = ((item, [curve for curve in item.curves if _any(curve)]) for item in found)
    return [replace(item, curves=curves) for item, curves in kept if curves]


def _wide(values: list[float]) -> bool:
    """Whether the largest is `_DWARFS` times the median, all being above 0."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > _DWARFS * median(finite)


def _of(rows: Rows) -> str:
    """How many examples the worst case was measured on, which differs between epochs."""
    counts = sorted({row["robust_examples"] for row in rows if isinstance(row.get("robust_examples"), int)})
    return f", of {counts[0]} to {counts[-1]} examples" if len(counts) > 1 else ""


def best_epoch(rows: Rows) -> int | None:
    """The epoch whose weights were kept; None where the log does not say, or none was."""
    best = rows[-1].get("best")
    return best if isinstance(best, int) and best > 0 else None


def spans(rows: Rows, name: str, place: str = "epoch") -> list[tuple[float, float]]:
    """From where to where a log says `name`, lines that follow each other together, half a place around each."""
    found: list[tuple[float, float]] = []
    before = False
    for row in rows:
        if row.get(name):
            start, end = row[place] - 0.5, row[place] + 0.5
            if before and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, end))
        before = bool(row.get(name))
    return found


def column(rows: Rows, name: str) -> list[float]:
    """A number a line; NaN where there is none."""
    return [_number(row.get(name)) for row in rows]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _any(curve: Curve) -> bool:
    return any(math.isfinite(value) for value in curve.values)
