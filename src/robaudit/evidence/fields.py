"""What a header may say: every field's type and range, looked at before anything is made of it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import robaudit
from robaudit.plan import Bounds, Budget

#: Whether a value is one that a field takes.
Rule = Callable[[Any], bool]
#: Values of one image, (C, H, W) together; one of 4096 x 4096 in one channel.
LARGEST_IMAGE = 1 << 24


class UnknownFieldError(ValueError):
    """Something that this version of robaudit does not know."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1 << 16


def _whole(low: int, high: int) -> Rule:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Rule:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _many(rule: Rule, most: int) -> Rule:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(rule, value))


def _named(rule: Rule) -> Rule:
    return lambda value: isinstance(value, dict) and len(value) <= 100 and all(map(rule, value.values()))


def _with(rule: Rule, together: Mapping[str, Sequence[str]]) -> Rule:
    """A rule, and names that do not stand without others."""
    return lambda value: (
        rule(value)
        and all(first not in value or value.keys() >= set(others) for first, others in together.items())
    )


def _shape(value: Any) -> bool:
    sizes = isinstance(value, list) and len(value) == 3 and all(map(_whole(1, LARGEST_IMAGE), value))
    return bool(sizes) and math.prod(value) <= LARGEST_IMAGE


def _claim(value: Any) -> bool:
    return value == {} or (
        isinstance(value, dict)
        and value.keys() == {"value", "attack"}
        and _number(0, 1)(value["value"])
        and _text(value["attack"])
    )


_COUNT = _whole(0, 1 << 40)


def _curve(value: Any) -> bool:
    """Counts of examples that stand at each radius, none of them more than were correct."""
    if value == {}:
        return True
    if not isinstance(value, dict) or value.keys() != {"radii", "examples", "correct", "pgd10", "worst"}:
        return False
    n, right = value["examples"], value["correct"]
    if not (_whole(1, 1 << 40)(n) and _whole(0, n)(right) and _many(_number(1e-12, 1e6), 20)(value["radii"])):
        return False
    return all(
        _many(_whole(0, right), 20)(value[name]) and len(value[name]) == len(value["radii"])
        for name in ("pgd10", "worst")
    )


def _probes(value: Any) -> bool:
    """How many examples were probed, and of these a share, or where its name says so a mean, by each name."""
    if not _named(_number(-LARGEST_METRIC, LARGEST_METRIC))(value) or not _COUNT(
        int(value.get("examples", 0))
    ):
        return False
    shares = [item for name, item in value.items() if name != "examples" and not name.endswith(_MEANS)]
    return all(map(_number(0, 1), shares))


#: Of the names of probes, what ends those that are no shares.
_MEANS = ("fosc", "fosc_normalised", "sgcs", "linearity")
#: The largest that these can be in absolute value: they are made of float32 numbers.
LARGEST_METRIC = 1e40
#: Of PGD-10 on a model as it is, and before its last softmax.
_COMPARED = tuple(
    f"{before}{name}" for before in ("", "before_") for name in ("pgd10", "fosc_normalised", "sgcs")
)
_FINDING = {"code": _text, "severity": _text, "message": _text, "advice": _text}
#: field: what it may hold, or its own fields; those that end in `?` may be absent.
Fields = dict[str, "Rule | Fields"]
HEADER: Fields = {
    "plan": {
        "threat": {"norm": _text, "eps": _number(0, 1e6)},
        "attacks": _many(_text, 20),
        "seed": _whole(0, (1 << 63) - 1),
        "confidence": _number(0, 1),
        "examples": _text,
        "limit": lambda value: value is None or _whole(1, 1 << 40)(value),
        "engine": _text,
        "precision": _text,
        "budget": {f"{item.name}?": _whole(1, 1 << 32) for item in dataclasses.fields(Budget)},
        "bounds": {f"{item.name}?": _number(0, 1) for item in dataclasses.fields(Bounds)},
        "eot?": _whole(1, 10_000),
        "within?": lambda value: value is None or _number(0, 0.5)(value),
        "estimate?": lambda value: value is None or _text(value),
        "version?": _text,
        "helpers?": _named(_text),
        "curve?": _many(_number(0, 1e6), 20),
        "cascade?": lambda value: isinstance(value, bool),
        "own?": _named(_named(_whole(1, 1 << 32))),
    },
    "model": {
        "path": _text,
        "sha256": _text,
        "architecture": _text,
        "normalisation": _text,
        "parameters": _COUNT,
        "classes": _whole(1, 1 << 24),
        "notes": _many(_text, 1000),
        "key?": lambda value: value is None or _text(value),
        "digest?": _text,
    },
    "data": {
        "name": _text,
        "split": _text,
        "n": _COUNT,
        "total": _COUNT,
        "sha256": _text,
        "shape": _shape,
        "classes": _whole(1, 1 << 24),
        "class_names?": _many(_text, 1 << 16),
    },
    "versions": {"robaudit": _text, "torch": _text, "python": _text},
    "device": _text,
    "findings": lambda value: isinstance(value, list) and len(value) <= 100,
    "probes?": _with(_probes, {"before_pgd10": _COMPARED, "pgd10_margin": ("examples", "pgd10")}),
    "early_stopping?": _with(_named(_COUNT), {"decided": ("examples", "forwards", "backwards")}),
    "claim?": _claim,
    "eps_curve?": _curve,
    "precision?": _text,
    "seconds": _number(0, 1e12),
    "finished": lambda value: isinstance(value, bool),
}

HEADER_FIELDS = frozenset(name.rstrip("?") for name in HEADER)


def check(values: Mapping[str, Any]) -> None:
    """Nothing, if these are the fields of a header, each within its range.

    Raises:
        UnknownFieldError: there is one that no version up to this one writes.
        ValueError: one is missing, of another type or out of range.

    """
    _check("", values, HEADER)
    for item in values["findings"]:
        _check("findings.", item, dict(_FINDING))


def _check(where: str, values: Any, fields: Fields) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where.rstrip('.')}: not fields")
    known = {name.rstrip("?"): rule for name, rule in fields.items()}
    for name in values:
        if name not in known:
            raise UnknownFieldError(f"the field '{where}{name}'")
    for name, rule in fields.items():
        bare = name.rstrip("?")
        if bare not in values:
            if bare == name:
                raise ValueError(f"{where}{bare}: is missing")
        elif isinstance(rule, dict):
            _check(f"{where}{bare}.", values[bare], rule)
        elif not rule(values[bare]):
            raise ValueError(f"{where}{bare}: {values[bare]!r:.40}")


def newer(version: Any) -> bool:
    """Whether a version of robaudit, as a header gives it, is later than this one."""
    return _parts(version) > _parts(robaudit.__version__)


def _parts(version: Any) -> tuple[int, ...]:
    found = re.match(r"\d{1,9}(\.\d{1,9})*", version) if isinstance(version, str) else None
    return tuple(map(int, found[0].split("."))) if found else ()
