"""What `torch.save` wrote, read in a child process first; and what that child may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robaudit.inputs.files.checkpoints import read_checkpoint
from robaudit.inputs.files.copies import FileCopy, read_copy
from robaudit.sandbox import Limits, in_child

#: Processor time that the first look at a file may take: a start, and one second for this many bytes.
SECONDS = 60
PER_SECOND = 8 << 20


def read_saved(path: Path) -> Any:
    """What `torch.save` wrote of dicts, lists, numbers, texts and tensors; `Inert` stands for anything else.

    Raises:
        RobauditError: it is damaged, or made to harm; nothing in it is imported or called.

    """
    copy = read_copy(path, what="what torch.save wrote")

    def look() -> None:
        read_checkpoint(copy)

    in_child(str(path), look, time_limits(copy))
    return read_checkpoint(copy).tree


def time_limits(copy: FileCopy) -> Limits:
    """What reading a file of this size may take."""
    return Limits(seconds=SECONDS + len(copy) // PER_SECOND)
