"""A sweep's grid file: what is trained and audited. It sets numbers and names; only the command line says where.

A grid may be a stranger's. So a key is one of a list, none of which names a file to write, another checkpoint, code or
a program to be trusted, and a value is a number or a short name that stays inside its folder's name.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from robaudit.cli.tables import LIST, NUMBER, TABLE, TEXT, WHOLE, Kinds, check_keys, check_number, read_toml
from robaudit.errors import RobauditError
from robaudit.factory_names import is_factory

Command = list[str]
#: Bytes of a report.
LARGEST = 16 << 20
#: Runs of a sweep, and letters of a value.
_MOST_RUNS, _LONGEST = 100_000, 200
_KEYS: Kinds = {
    "name": TEXT, "seeds": WHOLE, "fixed": TABLE, "grid": TABLE, "check": TABLE, "bound": NUMBER, "paper": TABLE,
}  # fmt: skip
#: What a grid may say of `robaudit train`, and of `robaudit check`.
TRAINING = {
    "dataset", "limit", "validation", "confirm", "augment", "method", "beta", "eps", "step-size", "steps", "awp",
    "arch", "normalise", "epochs", "batch-size", "lr", "schedule", "momentum", "weight-decay", "clip", "select", "heal",
    "threshold", "precision", "execution", "threads", "device", "batch-metrics", "save-every", "tensorboard",
}  # fmt: skip
CHECKING = {
    "split", "limit", "normalise", "norm", "eps", "seed", "confidence", "examples", "attacks", "pgd-steps",
    "apgd-steps", "fab-steps", "targets", "square-queries", "restarts", "square-bound", "autoattack-bound", "claim",
    "claim-attack", "eot", "engine", "precision", "device", "force",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One run: the cell of the grid, its seed, where it goes."""

    cell: tuple[tuple[str, Any], ...]
    seed: int
    folder: Path

    @property
    def result(self) -> Path:
        """The JSON report of its audit; a run that has one is done."""
        return self.folder / "audit.json"


@dataclass(frozen=True)
class Sweep:
    """A grid file.

    Attributes:
        name: for the table's head.
        fixed: flags of `robaudit train`, without the dashes; `true` stands for a bare flag.
        grid: flags with a list of values each.
        seeds: runs a cell.
        check: flags of `robaudit check`.
        bound: a run is unstable where PGD-10 minus Square reaches it (Table 2: 0.08).
        paper: what the paper found, by cell, as `"beta=1 batch-size=128" = "10/10"`.

    """

    name: str
    fixed: dict[str, Any]
    grid: dict[str, list[Any]]
    seeds: int
    check: dict[str, Any]
    bound: float
    paper: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's sweep.

        Raises:
            RobauditError: it cannot be read or lacks something.

        """
        data = read_toml(path, "give a .toml file")
        missing = [name for name in ("name", "fixed", "grid", "seeds") if name not in data]
        if missing:
            raise RobauditError(
                f"{path}: is not a sweep ('{missing[0]}' is missing); it needs name, seeds, [fixed] and [grid], as in "
                "examples/sweeps/"
            )
        check_keys(path, "", data, _KEYS)
        check_keys(path, "grid.", data["grid"], dict.fromkeys(data["grid"], LIST))
        found = cls(
            name=data["name"],
            fixed=data["fixed"],
            grid=data["grid"],
            seeds=data["seeds"],
            check=data.get("check", {}),
            bound=float(data.get("bound", 0.08)),
            paper=data.get("paper", {}),
        )
        if "dataset" not in found.fixed | found.grid or found.seeds < 1 or not all(found.grid.values()):
            raise RobauditError(
                f"{path}: needs a dataset, seeds of at least 1 and a value in every list of [grid]"
            )
        runs = found.seeds * math.prod(len(values) for values in found.grid.values())
        if runs > _MOST_RUNS:
            raise RobauditError(
                f"{path}: asks for {runs:,} runs, more than {_MOST_RUNS:,}; make the grid smaller"
            )
        for name, value in found.fixed.items():
            _check(path, f"fixed.{name}", name, value, TRAINING)
        for name, values in found.grid.items():
            for value in values:
                _check(path, f"grid.{name}", name, value, TRAINING)
        for name, value in found.check.items():
            _check(path, f"check.{name}", name, value, CHECKING)
        return found

    def jobs(self, out: Path) -> Iterator[Job]:
        """Every run, a seed of every cell first, so that an unfinished sweep has seen all cells."""
        cells = list(
            itertools.product(*([(key, value) for value in values] for key, values in self.grid.items()))
        )
        for seed in range(self.seeds):
            for cell in cells:
                parts = [*(f"{key}={value}" for key, value in cell), f"seed={seed}"]
                yield Job(cell, seed, out / ",".join(parts).replace("/", "-").replace("\\", "-"))

    def commands(self, job: Job, data_dir: Path | None) -> list[Command]:
        """What a run is: to train, to audit the best checkpoint."""
        own = [sys.executable, "-P", "-m", "robaudit"]  # -P: nothing is imported because it lies here
        data = {"data-dir": str(data_dir.resolve())} if data_dir else {}
        training = self.fixed | dict(job.cell) | data | {"seed": job.seed, "out": job.folder, "quiet": True}
        dataset = training["dataset"]
        checking = {
            "dataset": dataset, "attacks": "pgd10,square", "examples": "all", "limit": 1000,
            "evidence": job.folder / "audit.evidence", "json": job.result, **data, **self.check,
        }  # fmt: skip
        if "eps" in training:
            checking.setdefault("eps", training["eps"])
        best = str(job.folder / "best.safetensors")
        return [[*own, "train", *_flags(training)], [*own, "--no-config", "check", best, *_flags(checking)]]


def _check(path: Path, where: str, name: str, value: Any, known: set[str]) -> None:
    """Nothing, if a grid may set this.

    Raises:
        RobauditError: it may not.

    """
    if name not in known:
        raise RobauditError(f"{path}: {where} is not for a grid to set; known are {', '.join(sorted(known))}")
    check_number(path, where, value)
    if not isinstance(value, (bool, int, float, str)) or len(str(value)) > _LONGEST or "\0" in str(value):
        raise RobauditError(f"{path}: {where} must be a number, a short text, true or false")
    if isinstance(value, str) and name == "arch" and is_factory(value):
        raise RobauditError(
            f"{path}: {where} names code ('{value}'), which a grid may not; name an architecture"
        )


def _flags(values: dict[str, Any]) -> Iterable[str]:
    return [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in values.items()
        if value is not False
    ]
