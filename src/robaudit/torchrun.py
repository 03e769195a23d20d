"""What `torchrun` tells a process that it starts, through the environment; without torch."""

from __future__ import annotations

import os


def among_several() -> bool:
    """Whether `torchrun` started this process beside others. A batch queue's own RANK alone says nothing."""
    return os.environ.get("WORLD_SIZE", "1") != "1" and "MASTER_ADDR" in os.environ


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes: there is no other, or `torchrun` calls it rank 0."""
    return not among_several() or os.environ.get("RANK", "0") == "0"
