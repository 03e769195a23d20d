"""Whether a stored state has the form of the run's own: it may be cut short, another version's, or a stranger's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robaudit.reports.run_curves import wrong_in
from robaudit.training.stepping import NORMS
from robaudit.training.treatments import BY_NAME
from robaudit.training.worst_case import MOST_EXAMPLES

#: Letters of a text in a state.
_LONGEST = 10_000
#: Seconds of a run: a century.
_LONGEST_RUN = 3e9
#: Numbers of a look at the examples held out, and of an epoch beside them.
_LOOK = (
    *("epoch", "clean", "pgd10", "robust", "robust_low", "robust_high", "robust_examples"),
    *("fosc", "fosc_normalised", "sgcs"),
)
_EPOCH = (*_LOOK, "train_clean", "train_adv", "lr")


def check_state(found: Mapping[str, Any], own: Mapping[str, Any], epochs: int) -> None:
    """Nothing, if a run can be resumed from `found`.

    Args:
        found: what was stored.
        own: the state of the same run before its first step.
        epochs: of the whole run.

    Raises:
        ValueError: it has another form, or rows that are not epochs'.

    """
    _check_form(own, {name: found.get(name) for name in own}, "")
    if found["healthy"] is not None:
        _check_form({name: own[name] for name in ("network", "optimiser")}, found["healthy"], "healthy")
    rows, counts = found["rows"], (found["epoch"], found["step"])
    if not all(type(count) is int for count in counts):
        raise ValueError("its epoch and step are not whole numbers")
    if not (0 <= found["epoch"] <= epochs and len(rows) == found["epoch"] and found["step"] >= 0):
        raise ValueError(f"epoch {found['epoch']} of {epochs}, with {len(rows)} rows")
    chosen, began = (found.get("selection") or {}).get("epoch", 0), found.get("began_with")
    if type(chosen) is not int or not 0 <= chosen <= found["epoch"]:
        raise ValueError(f"its best epoch is {chosen!s:.20}, of {found['epoch']}")
    for number, row, names in ((0, began, _LOOK), *((k, row, _EPOCH) for k, row in enumerate(rows, 1))):
        if number == 0 and not row:
            continue
        numbers = isinstance(row, dict) and all(type(row.get(name)) in (int, float) for name in names)
        if not numbers or row["epoch"] != number or not isinstance(row.get("best"), (int, type(None))):
            raise ValueError(f"row {number} is not an epoch's")
        if wrong := wrong_in(row, _LOOK):
            raise ValueError(f"row {number}: {wrong}")


def check_values(found: Mapping[str, Any], steps: int) -> None:
    """Nothing, if a state of the run's own form holds only values that a run may have.

    Args:
        found: what `check_state` let pass.
        steps: of an epoch.

    Raises:
        ValueError: some value cannot be so.

    """
    selection, judge, healer = found["selection"], found["judge"], found["healer"]
    standings = [
        item for item in (selection["standing"], selection["untreated"], *selection["rivals"]) if item
    ]
    examples = found["sums"]["examples"]
    tried = [row.get("tried", {}) for row in found["rows"]]
    checks: dict[str, bool] = {
        "step": found["step"] <= steps and bool(found["step"]) == (examples > 0),
        "sums": all(math.isfinite(value) for value in found["sums"].values()),
        "seconds": 0 <= found["seconds"] < _LONGEST_RUN,
        "slower": 0 < found["slower"] <= 1,
        "treated": 0 <= found["treated"] <= steps,
        "treatment": {found["treatment"], healer.get("name", "")} <= {*BY_NAME, ""},
        "batches": all(_numbers(item, ("step", "epoch", *NORMS)) for item in found["batches"]),
        "rows.tried": all(isinstance(item, dict) and _numbers(item, tuple(item)) for item in tried),
        "rows.robust": all(0 <= row["robust"] <= 1 for row in found["rows"]),
        "remarks.chance": all(type(item) is bool for item in found["remarks"]["chance"]),
        "judge.gaps": all(_pair(item) for item in judge["gaps"]),
        "judge.watch": all(_pair(item, finite=False) for item in judge["watch"]["healthy"]),
        "selection.gaps": all(_finite(item) for item in selection["gaps"]),
        "selection": all(_is_standing(item) for item in standings)
        and len({len(item["robust"]) for item in selection["rivals"]}) <= 1,
    }
    wrong = [name for name, fits in checks.items() if not fits]
    if wrong:
        raise ValueError(f"'{wrong[0]}' has a value that no run has")


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _pair(value: Any, *, finite: bool = True) -> bool:
    if not (isinstance(value, list | tuple) and len(value) == 2):
        return False
    return all(type(item) in (int, float) and (math.isfinite(item) or not finite) for item in value)


def _numbers(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) in (int, float) for name in names)


def _is_standing(value: Any) -> bool:
    """Whether it is what `Standing.state` gives."""
    parts = [value.get(name) for name in ("robust", "few", "square")]
    if not all(isinstance(part, Tensor) and part.dtype == torch.bool and part.dim() == 1 for part in parts):
        return False
    count, total = len(parts[0]), value.get("total")
    fits = type(total) is int and 0 < count <= total <= MOST_EXAMPLES
    return fits and {len(part) for part in parts} == {count} and _finite(value.get("first_gap"))


def _check_form(own: Any, found: Any, where: str) -> None:
    """Nothing, if `found` has the parts of `own`, of the same types and shapes.

    Raises:
        ValueError: it has not.

    """
    if own is None or own in ([], {}):
        fits = _is_plain(found) and (own is None or type(found) is type(own))
    elif isinstance(own, dict):
        fits = isinstance(found, dict) and found.keys() == own.keys()
    elif isinstance(own, Tensor):
        fits = isinstance(found, Tensor) and (found.shape, found.dtype) == (own.shape, own.dtype)
    else:
        kinds = (str,) if isinstance(own, str) else (int, float)
        fits = isinstance(found, kinds) and _is_plain(found, named=True)
    if not fits:
        raise ValueError(f"'{where or 'the state'}' has another form")
    if isinstance(own, dict) and own:
        for name, part in own.items():
            _check_form(part, found[name], f"{where}.{name}".lstrip("."))


def _is_plain(value: Any, *, named: bool = False) -> bool:
    """Whether it is numbers and tensors, in lists and under names; under names texts too."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(part, named=True) for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part, named=named) for part in value)
    if isinstance(value, str):
        return named and len(value) <= _LONGEST
    if isinstance(value, int):
        return abs(value) < 1 << 63
    return value is None or isinstance(value, (float, Tensor))
