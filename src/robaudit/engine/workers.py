"""Threads that work through one queue of examples.

Small networks gain little from many threads inside one operation; several batches side by side keep all cores
busy, and torch lets go of the interpreter's lock while it computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """A worker has no more to do, or met an error."""

    error: BaseException | None


def work_together(
    works: Sequence[Callable[[Callable[[T], None]], None]],
    stop: Callable[[], None],
    take_over: Callable[[T], None],
) -> None:
    """Each of `works` in a thread of its own; what they hand over is taken over in the calling thread.

    `stop` is called once, to tell the workers that nobody waits for them any more.

    Raises:
        Exception: the first that a worker or `take_over` met, once all workers have stopped.

    """
    box: SimpleQueue[T | _End] = SimpleQueue()

    def run(work: Callable[[Callable[[T], None]], None]) -> None:
        error = None
        try:
            work(box.put)
        except BaseException as met:
            error = met
        box.put(_End(error))

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        left = len(threads)
        while left:
            item = box.get()
            if not isinstance(item, _End):
                take_over(item)
                continue
            if item.error:
                raise item.error
            left -= 1
    finally:
        stop()
        for thread in threads:
            thread.join()
