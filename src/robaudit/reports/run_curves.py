"""What a training run's curves are, from its log alone: one subject each, for the picture and for the page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
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
#: Bytes that a log may have: 10,000 epochs have less than a tenth of it.
_LONGEST = 1 << 27


@dataclass(frozen=True)
class Curve:
    """A number an epoch; NaN where the log has none. `low` and `high` are its interval, or empty."""

    name: str
    values: list[float]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Subject:
    """Curves on one scale: what one sees, the scale's name, and whether it is of shares from 0 to 1."""

    title: str
    scale: str
    curves: list[Curve]
    share: bool = False


def read_log(folder: Path, name: str = LOG) -> Rows:
    """The objects of a run's log, an epoch each.

    Raises:
        RobauditError: there is no log, or it is damaged.

    """
    path = folder / name
    try:
        rows: Rows = [json.loads(line) for line in read_text(path, _LONGEST).splitlines()]
    except OSError as error:
        raise RobauditError(f"{path}: cannot be read ({error.strerror}); give the folder of a run") from error
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: is damaged ({error}); resume the run, which writes it anew") from error
    if not rows:
        raise RobauditError(f"{path}: no epoch is finished yet; resume it with `robaudit train`")
    for number, row in enumerate(rows, 1):
        wrong = _wrong(row, ("step",) if name != LOG else NUMBERS)
        if wrong:
            raise RobauditError(
                f"{path}: is damaged (line {number}: {wrong}); resume the run, which writes it anew"
            )
    return rows


def _wrong(row: object, numbers: tuple[str, ...]) -> str:
    """What a line lacks; empty where nothing."""
    if not isinstance(row, dict):
        return "no object"
    lacking = [name for name in numbers if type(row.get(name)) not in (int, float)]
    return f"no number for {lacking[0]}" if lacking else ""


def subjects(rows: Rows) -> list[Subject]:
    """Those that the log has numbers for."""
    low, high = (tuple(_column(rows, name)) for name in ("robust_low", "robust_high"))
    found = [
        Subject(
            "Robust accuracy falls below PGD-10 where PGD-10 overestimates (Figure 2)",
            "held-out accuracy",
            [
                Curve("clean", _column(rows, "clean")),
                Curve("PGD-10", _column(rows, "pgd10")),
                Curve("robust (95 % interval)", _column(rows, "robust"), low, high),
            ],
            share=True,
        ),
        Subject(
            "What PGD-10 misses: a jump is masking, a level is a weak yardstick",
            "share of the held-out examples",
            [
                Curve("worst case of the attacks", _column(rows, "gap")),
                Curve("Square's first queries", _column(rows, "black_box_gap")),
            ],
        ),
        Subject(
            "PGD stops converging where normalised FOSC rises (Figures 2, 6)",
            "normalised FOSC",
            [Curve("normalised FOSC", _column(rows, "fosc_normalised"))],
        ),
        Subject(
            "Gradients stop agreeing along PGD's way where SGCS falls (Figures 2, 7)",
            "SGCS",
            [Curve("SGCS", _column(rows, "sgcs"))],
        ),
        Subject(
            "Training accuracies: a narrow gap beside a high FOSC is masking (Figure 3)",
            "training accuracy",
            [Curve("clean", _column(rows, "train_clean")), Curve("adversarial", _column(rows, "train_adv"))],
            share=True,
        ),
        Subject("FOSC as the paper plots it (Figure 3)", "FOSC", [Curve("FOSC", _column(rows, "fosc"))]),
        Subject(
            "The weights' gradient grows before a collapse (Figure 5)",
            "gradient norm",
            [Curve("gradient norm", _column(rows, "w_grad_norm"))],
        ),
    ]
    kept = ((item, [curve for curve in item.curves if _any(curve)]) for item in found)
    return [Subject(item.title, item.scale, curves, item.share) for item, curves in kept if curves]


def best_epoch(rows: Rows) -> int | None:
    """The epoch whose weights were kept; None where the log does not say, or none was."""
    best = rows[-1].get("best")
    return best if isinstance(best, int) and best > 0 else None


def _column(rows: Rows, name: str) -> list[float]:
    return [_number(row.get(name)) for row in rows]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _any(curve: Curve) -> bool:
    return any(math.isfinite(value) for value in curve.values)
