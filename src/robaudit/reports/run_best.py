"""What a training run's best network is worth: measured once more at the end, in a file of its own."""

from __future__ import annotations

import json
import math
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
    if not numbers["robust_low"] <= numbers["robust"] <= numbers["robust_high"]:
        raise RobauditError(
            f"{path}: is damaged (robust is outside its interval); resume the run, which writes it anew"
        )
    optional = ["chosen_examples"] if type(numbers.get("chosen_examples")) is int else []
    return {name: numbers[name] for name in (*_COUNTS, *shares, *optional)}


def worth(row: dict[str, Any], held: int | None = None) -> str:
    """A network's accuracies.

    Args:
        row: what `read_best` gave, or an epoch of the log.
        held: the examples held out, of which clean and PGD-10's accuracy are; None where that is not known.

    """
    low, high = (f"{100 * row[name]:.1f}" for name in ("robust_low", "robust_high"))
    by = "AutoAttack on" if "luck" in row else "of"
    if held not in (None, row["robust_examples"]):  # then PGD-10's may be the lower one
        return (
            f"robust {_percent(row['robust'])} ({low} … {high}, {by} {row['robust_examples']} of the {held} held out), "
            f"clean {_percent(row['clean'])} and PGD-10 {_percent(row['pgd10'])} of all {held}"
        )
    return (
        f"clean {_percent(row['clean'])}, robust {_percent(row['robust'])} ({low} … {high}, "
        f"{by} {row['robust_examples']} held out), PGD-10 {_percent(row['pgd10'])}"
    )


def why_best(
    row: dict[str, Any], rows: list[dict[str, Any]], *, by_pgd10: bool = False, most_fosc: float = math.inf
) -> str:
    """Which network was kept and why, with the reason where an epoch of the log has a larger number.

    Args:
        row: the kept one's, of the log, or what `read_best` gave; epoch 0 is what the run began with.
        rows: the log.
        by_pgd10: whether the accuracy under PGD-10 chose.
        most_fosc: epochs with a larger FOSC do not count (Algorithm 1).

    """
    if beyond := [item for item in rows if _share(item.get("fosc")) > most_fosc]:
        within = [item for item in rows if item not in beyond]
        why = why_best(row, within, by_pgd10=by_pgd10)
        return f"{why}; epochs with a FOSC above {most_fosc:g} do not count (--threshold)"
    name = "PGD-10 accuracy" if by_pgd10 else "robust accuracy"
    epoch, chosen = row["epoch"], row.get("robust_when_chosen", row.get("robust", 1.0))
    why = f"epoch {epoch}, of the highest {name}"
    if not epoch:
        why = f"what the run began with, for no epoch has a higher {name}"
    if by_pgd10:
        return why
    own = next((item for item in rows if item["epoch"] == epoch), row)
    higher = [item for item in rows if _share(item.get("robust")) > chosen and item["epoch"] != epoch]
    lost = [item for item in higher if item.get("at_chance")]
    fewer = [
        item
        for item in higher
        if item not in lost and (_measured(item) < _measured(own) or not own.get("epoch"))
    ]
    reasons = []
    if lost:
        reasons.append("epochs that guess do not count")
    if fewer and epoch:
        reasons.append(
            "higher numbers are of fewer examples or fewer passes, by which this one is not beaten"
        )
    elif fewer:
        reasons.append("higher numbers are of fewer examples, or of less than half of its clean accuracy")
    return f"{why}; {'; '.join(reasons)}" if reasons else why


def _share(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _measured(row: dict[str, Any]) -> tuple[int, bool]:
    return int(_share(row.get("robust_examples"))), bool(row.get("robust_thorough"))


def why_less(best: dict[str, Any]) -> str:
    """How `robust` came to be what it is; empty where the network did not meet AutoAttack."""
    if "luck" not in best:
        return ""
    when = f"when epoch {best['epoch']} was chosen" if best["epoch"] else "of what the run began with"
    of = f" of {best['chosen_examples']} held out" if "chosen_examples" in best else ""
    sentence = (
        f"few passes left {_percent(best['robust_when_chosen'])}{of} robust {when}, "
        f"AutoAttack {_percent(best['autoattack'])} of {best['robust_examples']}"
    )
    luck = 100 * best["luck"]
    return sentence + (
        f"; {luck:.1f} points of that are taken off, the usual luck of the best of several"
        if luck >= 0.05
        else ""
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
