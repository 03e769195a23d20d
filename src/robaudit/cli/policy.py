"""What a project demands of its checkpoints: `[tool.robaudit]` of a pyproject.toml, or a robaudit.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robaudit.cli.data import threat_model
from robaudit.cli.exceptions import Ignored, Waiver, check_share, fits, read_ignored, read_waiver
from robaudit.cli.tables import (
    FRACTION,
    LIST,
    NUMBER,
    TABLE,
    TEXT,
    WHOLE,
    Kinds,
    check_keys,
    read_toml,
    subtable,
)
from robaudit.errors import RobauditError
from robaudit.factory_names import is_factory
from robaudit.plan import AuditPlan, Bounds, Budget, precision_wanted

#: What may be said of each data set, and of all of them at the top.
_EACH: Kinds = {
    "models": LIST, "dataset": TEXT, "data-dir": TEXT, "split": TEXT, "limit": WHOLE, "examples": TEXT,
    "image-size": TEXT, "within": NUMBER, "norm": TEXT, "eps": FRACTION, "seed": WHOLE, "confidence": NUMBER,
    "arch": TEXT, "normalise": TEXT, "min-robust-accuracy": NUMBER, "max-gap": NUMBER, "max-autoattack-gap": NUMBER,
    "budget": TABLE,
}  # fmt: skip
#: Every key at the top and the types it takes.
KEYS: Kinds = {
    **_EACH, "datasets": LIST, "evidence": TEXT, "recompute": WHOLE, "exceptions": LIST, "ignore": LIST,
}  # fmt: skip
#: What a policy with `[[datasets]]` says in these tables alone.
_OF_ONE = ("models", "dataset")
#: Survivors that `gate --verify` attacks again where the policy does not say.
RECOMPUTE = 16
#: Each `**` of a pattern multiplies the ways into a deep folder.
_MOST_DEEP = 2
_BUDGET: Kinds = {name.replace("_", "-"): WHOLE for name in Budget.__dataclass_fields__}


@dataclass(frozen=True)
class Policy:
    """What is demanded of the checkpoints of one data set, checked.

    Attributes:
        path: the file it was read from; what it names lies beside that file.
        models: patterns of checkpoints.
        dataset, data_dir, split, arch, normalise: as for `robaudit check`.
        plan: of every audit.
        minimum: the robust accuracy under AutoAttack that is demanded; None demands none.
        evidence: the folder that evidence is kept in.
        waivers: the exceptions.
        ignored: findings that count for nothing.
        recompute: how many survivors `--verify` attacks again.
        image_size: as for `robaudit check`.

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
    waivers: tuple[Waiver, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    recompute: int = RECOMPUTE
    image_size: str | None = None

    def waiver(self, model: Path) -> Waiver | None:
        """The first exception whose pattern fits the checkpoint."""
        return next((item for item in self.waivers if fits(item.model, model, self.path.parent)), None)

    def ignored_of(self, model: Path) -> dict[str, str]:
        """The codes that are ignored of a checkpoint, and what is said of each."""
        return {item.code: item.until for item in self.ignored if fits(item.model, model, self.path.parent)}

    def found(self) -> list[Path]:
        """The checkpoints that the patterns fit.

        Raises:
            RobauditError: a pattern fits none, or is none.

        """
        found: list[Path] = []
        for pattern in self.models:
            parts = Path(pattern).parts
            if parts.count("**") > _MOST_DEEP or ("**" in parts and ".." in parts):
                raise RobauditError(
                    f"{self.path}: models '{pattern}' looks through too much; write it with one **, below this folder"
                )
            try:
                matches = sorted(filter(_is_model, self.path.parent.glob(pattern)))
            except (NotImplementedError, ValueError, OSError, RecursionError) as error:
                raise RobauditError(
                    f"{self.path}: models '{pattern}' is not a pattern ({error}); correct it"
                ) from error
            if not matches:
                raise RobauditError(f"{self.path}: models '{pattern}' fits no file; correct it")
            found += [path for path in matches if path not in found]
        return found


def _is_model(path: Path) -> bool:
    """Whether it is a file, or a folder as Hugging Face's libraries write them."""
    return path.is_file() or (path / "config.json").is_file()


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
    raise RobauditError(
        "no policy here; `robaudit gate --init` writes a robaudit.toml, and [tool.robaudit] in a pyproject.toml will do"
    )


def read_policies(path: Path) -> tuple[Policy, ...]:
    """The policy in a file, one for each data set that it names.

    Raises:
        RobauditError: unreadable, an unknown key, or a bad value.

    """
    data: dict[str, Any] | None = read_toml(path, "name another --policy")
    if path.name == "pyproject.toml":
        data = subtable(data or {}, "tool", "robaudit")
        data = {
            name: value for name, value in (data or {}).items() if name != "check"
        }  # `check`'s own defaults
        if not data:
            raise RobauditError(f"{path}: has no [tool.robaudit]; write one, or a robaudit.toml")
    assert data is not None
    check_keys(path, "", data, KEYS)
    tables = data.get("datasets", [])
    if not tables:
        return (_policy(path, data, ""),)
    beside = [name for name in _OF_ONE if name in data]
    if beside:
        raise RobauditError(
            f"{path}: {beside[0]} stands beside [[datasets]]; put it into one of these tables"
        )
    common = {name: value for name, value in data.items() if name != "datasets"}
    found = []
    for table in tables:
        if not isinstance(table, dict):
            raise RobauditError(f"{path}: datasets must be tables, [[datasets]]")
        check_keys(path, "datasets.", table, _EACH)
        found.append(_policy(path, common | table, "datasets."))
    return tuple(found)


def _policy(path: Path, data: dict[str, Any], where: str) -> Policy:
    if "dataset" not in data:
        name = "[[datasets]] without 'dataset'" if where else "names no dataset"
        raise RobauditError(f'{path}: {name}; add dataset = "cifar10"')
    if where and not data.get("models"):
        raise RobauditError(f"{path}: [[datasets]] without 'models'; add models = [\"models/*.safetensors\"]")
    if not all(isinstance(item, str) for item in data.get("models", [])):
        raise RobauditError(f"{path}: {where}models must be a list of text")
    check_share(path, "min-robust-accuracy", data.get("min-robust-accuracy"))
    recompute = data.get("recompute", RECOMPUTE)
    if recompute < 0:
        raise RobauditError(f"{path}: recompute {recompute} must be 0 or more")
    if is_factory(data.get("arch", "")):
        raise RobauditError(
            f"{path}: arch names code ('{data['arch']}'), which a policy may not; pass it as robaudit gate --arch"
        )
    folder = path.parent
    return Policy(
        path=path,
        models=tuple(data.get("models", [])),
        dataset=_dataset(data["dataset"], folder),
        data_dir=folder / data["data-dir"] if "data-dir" in data else None,
        split=data.get("split", "test"),
        arch=data.get("arch"),
        normalise=data.get("normalise"),
        plan=_plan(path, data),
        minimum=data.get("min-robust-accuracy"),
        evidence=_inside(path, data.get("evidence", ".robaudit")),
        waivers=tuple(read_waiver(path, item) for item in data.get("exceptions", [])),
        ignored=tuple(read_ignored(path, item) for item in data.get("ignore", [])),
        recompute=recompute,
        image_size=data.get("image-size"),
    )


def _inside(path: Path, name: str) -> Path:
    """The folder of the evidence: all that a policy says of what is written.

    Raises:
        RobauditError: it leads out of the policy's own folder, by a link perhaps.

    """
    place = path.parent / name
    try:
        inside = place.resolve().is_relative_to(path.parent.resolve())
    except (OSError, ValueError, RuntimeError):  # no path, or links without an end
        inside = False
    if not inside:
        raise RobauditError(f"{path}: evidence '{name}' leads out of the policy's folder; name one inside it")
    return place


def _dataset(name: str, folder: Path) -> str:
    beside = folder / name
    return str(beside) if beside.exists() else name


def _plan(path: Path, data: dict[str, Any]) -> AuditPlan:
    check_keys(path, "budget.", data.get("budget", {}), _BUDGET)
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
        dataset = _dataset(data["dataset"], path.parent)
        threat = threat_model(data.get("norm", "Linf"), None if eps is None else str(eps), dataset)
        return AuditPlan(threat, budget=Budget(**budget), bounds=Bounds(**bounds), **fields)
    except (ValueError, RobauditError) as error:
        raise RobauditError(f"{path}: {error}") from error
