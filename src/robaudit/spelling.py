"""What somebody probably meant by a word or a path that is not there."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

#: Entries of a folder that are compared with a name.
_ENTRIES = 5_000


def nearest(text: str, known: Iterable[str]) -> str:
    """The one of `known` that is near, in any case of letters; empty where none is."""
    plain = {name.lower(): name for name in known}
    near = difflib.get_close_matches(text.lower(), plain, 1)
    return plain[near[0]] if near else ""


def meant(text: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` where one of `known` is near; else nothing."""
    near = nearest(text, known)
    return f" (did you mean {near}?)" if near else ""


def unknown(what: str, text: str, known: Iterable[str]) -> str:
    """The message for a word that is none of `known`: what was probably meant, and all there are.

    Args:
        what: the kind of thing, as `format`.
        text: what was given.
        known: what there is, in the order in which it is listed.

    """
    names = list(known)
    return f"{what} '{text}' is not known{meant(text, names)}; use {', '.join(names)}"


def meant_path(path: str) -> str:
    """` (did you mean X?)` where the folder of a missing path holds a name near its own; else nothing."""
    try:
        place = Path(path).expanduser()
        with os.scandir(place.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _ENTRIES)]
    except (OSError, ValueError, RuntimeError):
        return ""
    near = difflib.get_close_matches(place.name, names, 1, 0.75)
    return f" (did you mean {Path(path).parent / near[0]}?)" if near else ""
