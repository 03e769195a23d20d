"""SIGTERM ends a command as Ctrl-C does: what is under way is given up, what is finished stays on the disk."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """SIGTERM raises KeyboardInterrupt in the block; the signals that came are in the list."""
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread, where no signal arrives
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
