"""What of the machine this process may use: less than all, in a batch queue or a container."""

from __future__ import annotations

import os
from pathlib import Path

_PROCESS, _MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Processors by the affinity mask, and by the control group's quota of processor time, rounded down; at least 1."""
    tell = getattr(os, "sched_getaffinity", None)
    allowed = len(tell(0)) if tell else os.cpu_count() or 1
    return max(min(allowed, int(quota(_PROCESS, _MOUNTED) or allowed)), 1)


def quota(process: Path, mounted: Path) -> float | None:
    """The least quota of the process's control groups, in processors; None where none is set.

    Both versions of control groups are read. Inside a container the path that the kernel tells may be the host's, of
    which only the end is mounted: so every folder from there up to the mount's own counts that is there.

    Args:
        process: a file as `/proc/self/cgroup`.
        mounted: where the control groups are.

    """
    shares = (_share(folder) for folder in _folders(process, mounted, "cpu"))
    return min((share for share in shares if share is not None), default=None)


def group_memory(process: Path = _PROCESS, mounted: Path = _MOUNTED) -> int | None:
    """Bytes that the process's control groups leave it, what is kept of files counted as free; None without a limit.

    Args:
        process: as for `quota`.
        mounted: as for `quota`.

    """
    rooms = (_room(folder) for folder in _folders(process, mounted, "memory"))
    return min((room for room in rooms if room is not None), default=None)


def _room(folder: Path) -> int | None:
    """What a folder's files say is left of its limit."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
    ):
        words = [*_words(folder / limit), *_words(folder / used)]
        if len(words) == 2 and all(word.isdigit() for word in words):
            stat = _words(folder / "memory.stat")
            files = stat[stat.index(cached) + 1] if cached in stat else "0"
            return max(int(words[0]) - int(words[1]) + int(files), 0)
    return None


def _folders(process: Path, mounted: Path, controller: str) -> list[Path]:
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        for root in (mounted, mounted / controllers, mounted / controller, mounted / "unified"):
            inside = root / path.lstrip("/")
            folders += [inside, *(parent for parent in inside.parents if parent.is_relative_to(root))]
    return folders


def _share(folder: Path) -> float | None:
    """Processor time a period that a folder's files allow."""
    words = _words(folder / "cpu.max") or [
        *_words(folder / "cpu.cfs_quota_us"),
        *_words(folder / "cpu.cfs_period_us"),
    ]
    try:
        time, period = map(float, words)
    except ValueError:  # "max", or not both
        return None
    return time / period if time > 0 and period > 0 else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []
