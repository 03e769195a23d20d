"""Tables of a project's TOML files: read within limits, and only keys and types that are known."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.files import read_text
from robaudit.spelling import nearest

Kinds = Mapping[str, tuple[type, ...]]
TEXT, NUMBER, WHOLE, LIST, TABLE, FLAG = (str,), (int, float), (int,), (list,), (dict,), (bool,)
FRACTION = (str, int, float)
#: Names separated by commas, or a list of them.
TEXT_OR_LIST = (str, list)
#: Bytes of such a file.
_LARGEST = 1 << 20
#: TOML has numbers of any length, in hexadecimal, and numbers that are none.
_BEYOND = 1 << 63
_NAMES: dict[type, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    list: "list",
    dict: "table",
    bool: "true or false",
    datetime.date: "date",
}


def read_toml(path: Path, advice: str) -> dict[str, Any]:
    """The content of a TOML file in UTF-8.

    Args:
        path: of the file.
        advice: what to do where it cannot be read.

    Raises:
        RobauditError: it cannot be read, or is not TOML.

    """
    try:
        return tomllib.loads(read_text(path, _LARGEST))
    except OSError as error:
        raise RobauditError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: not TOML ({error}); correct it") from error


def subtable(data: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    """The table below a path of names; None where there is none."""
    found: Any = data
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def check_keys(path: Path, where: str, data: Mapping[str, Any], known: Kinds) -> None:
    """Nothing, if every key is known and its value of a type that it takes.

    Args:
        path: of the file, for the message.
        where: what stands before the keys there, as `budget.`.
        data: the table.
        known: every key, and the types it takes; `bool` is a number to Python, and never here.

    Raises:
        RobauditError: an unknown key, another type, or a number that no setting can have.

    """
    for name, value in data.items():
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else f"known are {', '.join(known)}"
            raise RobauditError(f"{path}: unknown key '{where}{name}'; {hint}")
        if not isinstance(value, known[name]) or isinstance(value, bool) != (known[name] == FLAG):
            wanted = " or ".join(_NAMES.get(kind, kind.__name__) for kind in known[name])
            raise RobauditError(f"{path}: {where}{name} is a {type(value).__name__}; it must be a {wanted}")
        check_number(path, f"{where}{name}", value)


def check_number(path: Path, where: str, value: object) -> None:
    """Nothing, unless a value is a number that no setting can have.

    Raises:
        RobauditError: it is.

    """
    if isinstance(value, (int, float)) and not -_BEYOND < value < _BEYOND:
        raise RobauditError(f"{path}: {where} is beyond all bounds; give a finite number below 2^63")
