"""Whether a stored state has the form of the run's own: it may be cut short, another version's, or a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

#: Letters of a text in a state.
_LONGEST = 10_000
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
