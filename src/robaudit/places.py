"""Where data sets and evidence lie if nobody says: `ROBAUDIT_DATA` and `ROBAUDIT_CACHE`, else the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

DATA, CACHE = "ROBAUDIT_DATA", "ROBAUDIT_CACHE"


def cache_folder() -> Path:
    """`ROBAUDIT_CACHE`, or robaudit's folder in the user's cache; it need not be there yet."""
    named = os.environ.get(CACHE)
    if named:
        return expanded(named)
    import platformdirs  # noqa: PLC0415  not needed where the variable is set

    return Path(platformdirs.user_cache_dir("robaudit"))


def data_folder() -> Path:
    """`ROBAUDIT_DATA`, or the cache folder: where the data sets with a name lie, in torchvision's layout."""
    named = os.environ.get(DATA)
    return expanded(named) if named else cache_folder()


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with `~` replaced by that home folder; as it is where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
