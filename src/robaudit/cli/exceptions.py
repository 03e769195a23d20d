"""What a policy waives, for a reason and until a day: checkpoints that fail, and findings by their code."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from robaudit.cli.tables import NUMBER, TEXT, Kinds, check_keys
from robaudit.errors import RobauditError
from robaudit.spelling import unknown

#: Findings of the gate itself that a policy may ignore; what could not be audited never passes.
OUTCOMES = ("overestimated", "inconclusive", "below-minimum")
_DAY = (datetime.date,)
_WAIVER: Kinds = {"model": TEXT, "reason": TEXT, "expires": _DAY, "min-robust-accuracy": NUMBER}
_IGNORED: Kinds = {"code": TEXT, "model": TEXT, "reason": TEXT, "expires": _DAY}


@dataclass(frozen=True)
class Waiver:
    """An exception: `model` (a pattern) is waived until `expires`, or held against `minimum` where that is given."""

    model: str
    reason: str
    expires: datetime.date
    minimum: float | None = None

    def __str__(self) -> str:
        return f"the exception for '{self.model}'"


@dataclass(frozen=True)
class Ignored:
    """The finding `code` of the checkpoints that fit `model` (a pattern) counts for nothing until `expires`."""

    code: str
    reason: str
    expires: datetime.date
    model: str = "*"

    def __str__(self) -> str:
        return f"the ignored '{self.code}' for '{self.model}'"

    @property
    def until(self) -> str:
        """What is said of it."""
        return f"until {self.expires}: {self.reason}"


def fits(pattern: str, model: Path, folder: Path) -> bool:
    """Whether a pattern fits a checkpoint's path, relative to `folder` if it lies in it, or its name."""
    folder, here = folder.resolve(), model.resolve()
    relative = here.relative_to(folder) if here.is_relative_to(folder) else here
    return any(fnmatch(name, pattern) for name in (relative.as_posix(), here.name))


def refuse_expired(path: Path, items: Iterable[Waiver | Ignored], today: datetime.date) -> None:
    """Nothing, if all hold: each does on the day that it expires, and no longer.

    Raises:
        RobauditError: one has run out.

    """
    for item in items:
        if item.expires < today:
            raise RobauditError(
                f"{path}: {item} expired on {item.expires} ({item.reason})\n"
                "Fix the model and remove it, or give it another date."
            )


def idle(items: Iterable[Waiver | Ignored], models: Sequence[Path], folder: Path) -> list[Waiver | Ignored]:
    """Those of a policy in `folder` that fit none of all its models: meant for another, or left over."""
    return [item for item in items if not any(fits(item.model, model, folder) for model in models)]


def read_waiver(path: Path, item: Any) -> Waiver:
    """An entry of `exceptions`.

    Raises:
        RobauditError: it lacks something, or has a bad value.

    """
    found = _read(path, "exceptions", item, _WAIVER, ("model", "reason", "expires"))
    check_share(path, "exceptions.min-robust-accuracy", found.get("min-robust-accuracy"))
    return Waiver(found["model"], found["reason"], found["expires"], found.get("min-robust-accuracy"))


def read_ignored(path: Path, item: Any) -> Ignored:
    """An entry of `ignore`.

    Raises:
        RobauditError: it lacks something, or there is no such finding.

    """
    found = _read(path, "ignore", item, _IGNORED, ("code", "reason", "expires"))
    from robaudit.verdict import ADVICE

    known = (*OUTCOMES, *ADVICE)
    if found["code"] not in known:
        raise RobauditError(f"{path}: ignore.{unknown('code', found['code'], known)}")
    return Ignored(found["code"], found["reason"], found["expires"], found.get("model", "*"))


def check_share(path: Path, name: str, value: float | None) -> None:
    """Nothing, if a value is an accuracy.

    Raises:
        RobauditError: it is not in [0, 1].

    """
    if value is not None and not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise RobauditError(f"{path}: {name} {value:g} must be in [0, 1]{hint}")


def _read(path: Path, name: str, item: Any, keys: Kinds, needed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise RobauditError(f"{path}: an entry of {name} must be a table, [[{name}]]")
    check_keys(path, f"{name}.", item, keys)
    missing = [key for key in needed if key not in item or item[key] == ""]
    if missing:
        raise RobauditError(
            f"{path}: an entry of {name} without '{missing[0]}'; each needs {', '.join(needed)}"
        )
    day = item["expires"]
    return item | {"expires": day.date() if isinstance(day, datetime.datetime) else day}
