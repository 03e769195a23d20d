"""`[tool.robaudit.check]` of the pyproject.toml here: plain settings of `robaudit check`, and nothing else.

The file may be a stranger's, in a branch that was checked out to be tested. So it sets only what says which images and
how they are attacked. It names no code, no output, no network and no folder outside its own, cannot wave a warning
through or change what counts as overestimated, is never looked for in a folder above, and what it sets is said.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from robaudit.cli.streams import complain
from robaudit.cli.tables import FRACTION, NUMBER, TEXT, TEXT_OR_LIST, WHOLE, Kinds, check_keys, read_toml
from robaudit.datasets import DATASETS
from robaudit.errors import RobauditError

FILE = "pyproject.toml"
TABLE = "[tool.robaudit.check]"
#: Set to leave the table out, as `--no-config` does.
NO_CONFIG = "ROBAUDIT_NO_CONFIG"
#: What the table may set.
KEYS: Kinds = {
    "dataset": TEXT, "data-dir": TEXT, "split": TEXT, "limit": WHOLE, "image-size": TEXT,
    "norm": TEXT, "eps": FRACTION, "seed": WHOLE, "confidence": NUMBER, "examples": TEXT,
    "attacks": TEXT_OR_LIST, "version": TEXT, "normalise": TEXT, "eot": WHOLE, "precision": TEXT,
    "pgd-steps": WHOLE, "apgd-steps": WHOLE, "fab-steps": WHOLE, "targets": WHOLE, "square-queries": WHOLE,
    "restarts": WHOLE,
}  # fmt: skip
_PATHS = ("dataset", "data-dir")


def project_defaults(flags: set[str]) -> dict[str, Any]:
    """The defaults that the pyproject.toml in the working directory gives, by the names of `check`'s arguments.

    Args:
        flags: of `robaudit check`, without dashes before them; such a key that is not allowed here is told so.

    Raises:
        RobauditError: a key that is unknown or for the command line only, a bad type, or a path outside the project.

    """
    path = Path(FILE)
    if os.environ.get(NO_CONFIG) or not path.is_file():
        return {}
    data = _table(read_toml(path, "correct it, or pass --no-config"))
    if not data:
        return {}
    for name in data:
        if name in flags and name not in KEYS:
            raise RobauditError(
                f"{FILE}: {TABLE} cannot set '{name}', which only the command line may; remove it"
            )
    check_keys(path, "tool.robaudit.check.", data, KEYS)
    for name in _PATHS:
        if name in data and not (name == "dataset" and data[name] in DATASETS):
            _check_inside(name, data[name])
    return {name.replace("-", "_"): _as_flag(name, value) for name, value in data.items()}


def _table(file: dict[str, Any]) -> dict[str, Any]:
    """`[tool.robaudit.check]` of the file; empty where there is none.

    Raises:
        RobauditError: what has its name is no table.

    """
    found: Any = file
    for part in ("tool", "robaudit", "check"):
        if not isinstance(found, dict):
            break
        found = found.get(part, {})
    if not isinstance(found, dict):
        raise RobauditError(f"{FILE}: {TABLE} is no table; correct it, or pass --no-config")
    return found


def _as_flag(name: str, value: Any) -> Any:
    """A value as the flag takes it.

    Raises:
        RobauditError: a list of something else than text.

    """
    if isinstance(value, list):
        if not value or not all(isinstance(item, str) for item in value):
            raise RobauditError(f"{FILE}: tool.robaudit.check.{name} must be a list of text")
        return ",".join(value)
    return str(value) if KEYS[name] == FRACTION else value


def _check_inside(name: str, value: str) -> None:
    """Nothing, if a path lies in the working directory, links followed.

    Raises:
        RobauditError: it leads out of it.

    """
    here = Path.cwd().resolve()
    try:
        inside = not Path(value).is_absolute() and Path(value).resolve().is_relative_to(here)
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise RobauditError(
            f"{FILE}: {TABLE} {name} '{value}' leads out of the project; name one inside, or pass --{name}"
        )


def tell_defaults(context: typer.Context) -> None:
    """Say what a command took from the file."""
    taken = [
        f"{name.replace('_', '-')} = {value}"
        for name, value in (context.default_map or {}).items()
        if getattr(context.get_parameter_source(name), "name", "") == "DEFAULT_MAP"
    ]
    if taken:
        complain(f"{FILE}: {TABLE} sets {', '.join(taken)} (--no-config leaves it out)")
