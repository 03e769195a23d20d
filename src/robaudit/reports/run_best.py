"""What a training run's best network is worth: measured once more at the end, in a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.files import read_text
from robaudit.reports.run_curves import wrong_in

BEST = "best.json"
NUMBERS = ("epoch", "clean", "pgd10", "robust", "robust_low", "robust_high", "robust_examples")
#: Those that only a network has that met AutoAttack.
_CONFIRMED = ("robust_when_chosen", "autoattack", "luck")
_LONGEST = 1 << 16


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
    names = NUMBERS + (_CONFIRMED if isinstance(found, dict) and "luck" in found else ())
    wrong = wrong_in(found, names)
    if wrong:
        raise RobauditError(f"{path}: is damaged ({wrong}); resume the run, which writes it anew")
    return {name: found[name] for name in names}


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
    said = (
        f"few passes left {_percent(best['robust_when_chosen'])} robust when epoch {best['epoch']} was chosen, "
        f"AutoAttack {_percent(best['autoattack'])}"
    )
    luck = 100 * best["luck"]
    return said + (
        f"; {luck:.1f} points of that are taken off, the usual luck of the best of several"
        if luck >= 0.05
        else ""
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
