"""How much memory there is, and how much a foreign file may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from robaudit.cores import group_memory

#: Where `--max-memory` is kept for the whole process, and what sets it for Python.
VARIABLE = "ROBAUDIT_MAX_MEMORY"
#: The part of the memory that is free which reading a file may take, unless it is told.
SHARE = 0.8
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """A number of bytes, with a unit of 1024, 1024² and so on: `500M`, `4G`, `4GiB`.

    Raises:
        ValueError: it is none, or less than 1 MiB.

    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1 << 20:
        raise ValueError(f"{text[:40]}: is not a size of at least 1M; give bytes such as 500M or 4G")
    return size


def available_memory() -> int:
    """Bytes of memory that could be used now, in this container; all of the machine's where the system does not say."""
    room = group_memory()
    return _machine_memory() if room is None else min(_machine_memory(), room)


def _machine_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return 4 << 30


def max_memory() -> int:
    """Bytes that reading a foreign file may take: as told, else most of what is free.

    Raises:
        ValueError: what was told is not a size.

    """
    given = os.environ.get(VARIABLE, "")
    return parse_bytes(given) if given else max(int(SHARE * available_memory()), 1 << 30)
