"""What a project demands of its checkpoints: `[tool.robaudit]` of a pyproject.toml, or a robaudit.toml."""

from __future__ import annotations

import datetime
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from robaudit.cli.data import threat_model
from robaudit.errors import RobauditError
from robaudit.files import read_text
from robaudit.plan import AuditPlan, Bounds, Budget, precision_wanted

_TEXT, _NUMBER, _WHOLE, _LIST, _TABLE = (str,), (int, float), (int,), (list,), (dict,)
#: Bytes of a policy.
_LARGEST = 1 << 20
#: Every key and the types it takes.
KEYS: dict[str, tuple[type, ...]] = {
    "models": _LIST,
    "dataset": _TEXT,
    "data-dir": _TEXT,
    "split": _TEXT,
    "limit": _WHOLE,
    "examples": _TEXT,
    "within": _NUMBER,
    "norm": _TEXT,
    "eps": (str, int, float),
    "seed": _WHOLE,
    "confidence": _NUMBER,
    "arch": _TEXT,
    "normalise": _TEXT,
    "min-robust-accuracy": _NUMBER,
    "max-gap": _NUMBER,
    "max-autoattack-gap": _NUMBER,
    "evidence": _TEXT,
    "recompute": _WHOLE,
    "budget": _TABLE,
    "exceptions": _LIST,
}
#: Survivors that `gate --verify` attacks again where the policy does not say.
RECOMPUTE = 16
_EXCEPTION_KEYS: dict[str, tuple[type, ...]] = {
    "model": _TEXT,
    "reason": _TEXT,
    "expires": (datetime.date,),
    "min-robust-accuracy": _NUMBER,
}
_BUDGET_KEYS = {name.replace("_", "-"): _WHOLE for name in Budget.__dataclass_fields__}


@dataclass(frozen=True)
class Waiver:
    """An exception: `model` (a pattern) is waived until `expires`, or held against `minimum` where that is given."""

    model: str
    reason: str
    expires: datetime.date
    minimum: float | None = None


@dataclass(frozen=True)
class Policy:
    """A policy, checked.

    Attributes:
        path: the file it was read from; what it names lies beside that file.
        models: patterns of checkpoints.
        dataset, data_dir, split, arch, normalise: as for `robaudit check`.
        plan: of every audit.
        minimum: the robust accuracy under AutoAttack that is demanded; None demands none.
        evidence: the folder that evidence is kept in.
        waivers: the exceptions.
        recompute: how many survivors `--verify` attacks again.

    """

    path: Path
    models: tuple[str, ...]
    dataset: str
    data_dir: Path | None
    split: str
    arch: str | None
    normalise: str | None
    plan: AuditPlan
    minimum: float | None
    evidence: Path
    waivers: tuple[Waiver, ...]
    recompute: int = RECOMPUTE

    def waiver(self, model: Path) -> Waiver | None:
        """The first exception whose pattern fits the checkpoint's path, relative to the policy, or its name."""
        folder = self.path.parent.resolve()
        here = model.resolve()
        relative = here.relative_to(folder) if here.is_relative_to(folder) else here
        names = (relative.as_posix(), here.name)
        return next((item for item in self.waivers if any(fnmatch(name, item.model) for name in names)), None)

    def expired(self, today: datetime.date) -> Waiver | None:
        """The first exception that has run out: it holds on the day it expires and no longer."""
        return next((item for item in self.waivers if item.expires < today), None)


def find_policy(named: Path | None) -> Path:
    """The policy that was named, or `robaudit.toml` or `pyproject.toml` here.

    Raises:
        RobauditError: there is none.

    """
    if named is not None:
        return named
    for name in ("robaudit.toml", "pyproject.toml"):
        if Path(name).is_file():
            return Path(name)
    raise RobauditError("no policy here; write a robaudit.toml, or [tool.robaudit] in a pyproject.toml")


def read_policy(path: Path) -> Policy:
    """The policy in a file.

    Raises:
        RobauditError: unreadable, an unknown key, or a bad value.

    """
    try:
        data: Any = tomllib.loads(read_text(path, _LARGEST))
    except OSError as error:
        raise RobauditError(f"{path}: cannot be read ({error.strerror}); name another --policy") from error
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: not TOML ({error}); correct it") from error
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("robaudit") if isinstance(data.get("tool"), dict) else None
        if not isinstance(data, dict):
            raise RobauditError(f"{path}: has no [tool.robaudit]; write one, or a robaudit.toml")
    _check(path, "", data, KEYS)
    if "dataset" not in data:
        raise RobauditError(f'{path}: names no dataset; add dataset = "cifar10"')
    minimum = data.get("min-robust-accuracy")
    _share(path, "min-robust-accuracy", minimum)
    recompute = data.get("recompute", RECOMPUTE)
    if recompute < 0:
        raise RobauditError(f"{path}: recompute {recompute} must be 0 or more")
    folder = path.parent
    return Policy(
        path=path,
        models=tuple(map(str, data.get("models", []))),
        dataset=_dataset(data["dataset"], folder),
        data_dir=folder / data["data-dir"] if "data-dir" in data else None,
        split=data.get("split", "test"),
        arch=data.get("arch"),
        normalise=data.get("normalise"),
        plan=_plan(path, data),
        minimum=minimum,
        evidence=folder / data.get("evidence", ".robaudit"),
        waivers=tuple(_waiver(path, item) for item in data.get("exceptions", [])),
        recompute=recompute,
    )


def _dataset(name: str, folder: Path) -> str:
    beside = folder / name
    return str(beside) if beside.exists() else name


def _plan(path: Path, data: dict[str, Any]) -> AuditPlan:
    _check(path, "budget.", data.get("budget", {}), _BUDGET_KEYS)
    eps = data.get("eps")
    fields: dict[str, Any] = {name: data[name] for name in ("seed", "confidence", "limit") if name in data}
    fields |= precision_wanted(data.get("within"), data.get("examples", "auto"))
    budget = {name.replace("-", "_"): value for name, value in data.get("budget", {}).items()}
    bounds = {
        field: data[name]
        for name, field in (("max-gap", "pgd_square"), ("max-autoattack-gap", "pgd_autoattack"))
        if name in data
    }
    try:
        threat = threat_model(data.get("norm", "Linf"), None if eps is None else str(eps), data["dataset"])
        return AuditPlan(threat, budget=Budget(**budget), bounds=Bounds(**bounds), **fields)
    except (ValueError, RobauditError) as error:
        raise RobauditError(f"{path}: {error}") from error


def _waiver(path: Path, item: Any) -> Waiver:
    if not isinstance(item, dict):
        raise RobauditError(f"{path}: an exception must be a table, [[exceptions]]")
    _check(path, "exceptions.", item, _EXCEPTION_KEYS)
    missing = [name for name in ("model", "reason", "expires") if name not in item]
    if missing:
        raise RobauditError(
            f"{path}: an exception without '{missing[0]}'; each needs model, reason and expires"
        )
    _share(path, "exceptions.min-robust-accuracy", item.get("min-robust-accuracy"))
    expires = item["expires"]
    day = expires.date() if isinstance(expires, datetime.datetime) else expires
    return Waiver(item["model"], item["reason"], day, item.get("min-robust-accuracy"))


def _check(path: Path, where: str, data: dict[str, Any], known: Mapping[str, tuple[type, ...]]) -> None:
    for name, value in data.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
            raise RobauditError(f"{path}: unknown key '{where}{name}'; {hint}")
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise RobauditError(
                f"{path}: {where}{name} is a {type(value).__name__}; it must be a "
                f"{' or '.join(kind.__name__ for kind in known[name])}"
            )


def _share(path: Path, name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise RobauditError(f"{path}: {name} {value:g} must be in [0, 1]{hint}")
