"""What a training run's best network is worth: measured once more at the end, in a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.files import read_text

BEST = "best.json"
#: Whole numbers, and shares from 0 to 1; the last of these only a network has that met AutoAttack.
_COUNTS = ("asked", "epoch", "robust_examples")
_SHARES = ("clean", "pgd10", "robust", "robust_low", "robust_high")
_CONFIRMED = ("robust_when_chosen", "autoattack", "luck")
#: What `worth` says of a network.
SHOWN = (*_SHARES, "robust_examples")
#: Bytes, and what is counted to.
_LONGEST, _LARGEST = 1 << 16, 1_000_000_000


def read_best(folder: Path) -> dict[str, Any] | None:
    """The numbers, or None where the run is not over or kept nothing.

    Raises:
        RobauditError: the file is damaged.

    """
    path = folder / BEST
    try:
        found = json.loads(read_text(path, _LONGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: is damaged ({error}); resume the run, which writes it anew") from error
    numbers = (
        {name: value for name, value in found.items() if type(value) in (int, float)}
        if isinstance(found, dict)
        else {}
    )
    shares = _SHARES + (_CONFIRMED if "luck" in numbers else ())
    wrong = [
        name for name in _COUNTS if type(numbers.get(name)) is not int or not 0 <= numbers[name] <= _LARGEST
    ]
    wrong += [name for name in shares if not 0 <= numbers.get(name, -1) <= 1]
    if wrong:
        raise RobauditError(
            f"{path}: is damaged (no number that can be for {wrong[0]}); resume the run, which writes it anew"
        )
    return {name: numbers[name] for name in (*_COUNTS, *shares)}


def worth(row: dict[str, Any]) -> str:
    """A network's accuracies: `row` is what `read_best` gave, or an epoch of the log."""
    low, high = (f"{100 * row[name]:.1f}" for name in ("robust_low", "robust_high"))
    by = "AutoAttack on" if "luck" in row else "of"
    return (
        f"clean {_percent(row['clean'])}, robust {_percent(row['robust'])} ({low} … {high}, "
        f"{by} {row['robust_examples']} held out), PGD-10 {_percent(row['pgd10'])}"
    )


def why_less(best: dict[str, Any]) -> str:
    """How `robust` came to be what it is; empty where the network did not meet AutoAttack."""
    if "luck" not in best:
        return ""
    when = f"when epoch {best['epoch']} was chosen" if best["epoch"] else "of what the run began with"
    sentence = (
        f"few passes left {_percent(best['robust_when_chosen'])} robust {when}, "
        f"AutoAttack {_percent(best['autoattack'])}"
    )
    luck = 100 * best["luck"]
    return sentence + (
        f"; {luck:.1f} points of that are taken off, the usual luck of the best of several"
        if luck >= 0.05
        else ""
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
