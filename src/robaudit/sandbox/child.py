"""Doing something with a foreign file in a child process, and what is learned when the child does not come back.

The child is a fork: nothing is imported twice, and the file's bytes are shared. It answers through a pipe in a format
of its own that can carry numbers and texts only. On systems without `fork` and its limits (anything but Linux) the same
is done in this process.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from robaudit.errors import RobauditError
from robaudit.sandbox.answers import FAILED, MEMORY, REFUSED, RESULT, Parts, pack, read_answer
from robaudit.sandbox.memory import max_memory

__all__ = ["Limits", "Parts", "in_child"]


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes:
        seconds: of processor time; four times as much by the clock.
        memory: bytes; by default what `--max-memory` says, else most of what is free.
        answer: bytes of its answer.

    """

    seconds: int = 60
    memory: int | None = None
    answer: int = 64 << 30


#: Whether this process is such a child: what it does inside, it does itself.
_inside = False


def in_child(name: str, job: Callable[[], Parts | None], limits: Limits = Limits()) -> Parts:
    """Call `job` in a confined child process.

    Args:
        name: the file, as the user named it; begins every error.
        job: reads the file. It changes nothing here; what it returns (texts, numbers, arrays of numbers) comes back.
        limits: what it may take.

    Returns:
        What the job returned; empty for None.

    Raises:
        RobauditError: the job's own, or one about how the child ended: by a signal, its time or its memory.

    """
    if _inside or not sys.platform.startswith("linux"):
        return _here(name, job)
    try:
        memory = limits.memory or max_memory()
    except ValueError as error:
        raise RobauditError(f"--max-memory {error}") from error
    mine, its = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of threads: the child starts none and waits for none
        child = os.fork()
    if not child:
        _run(job, its, memory, limits.seconds)
    os.close(its)
    alive = True
    try:
        kind, text, parts = read_answer(_Pipe(mine, limits.seconds).read, limits.answer)
        status = os.waitpid(child, 0)[1]
        alive = False
    except TimeoutError:
        raise RobauditError(_too_long(name, limits.seconds)) from None
    finally:
        os.close(mine)
        if alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if kind == RESULT:
        return parts
    if kind == REFUSED:
        raise RobauditError(text)
    if kind == MEMORY:
        raise RobauditError(_too_much(name, memory))
    if kind == FAILED:
        raise _failure(name, text)
    raise RobauditError(_ended(name, os.waitstatus_to_exitcode(status), limits.seconds, memory))


def _here(name: str, job: Callable[[], Parts | None]) -> Parts:
    try:
        return job() or {}
    except RobauditError:
        raise
    except Exception as error:
        raise _failure(name, f"{type(error).__name__}: {error}\n{traceback.format_exc()}") from error


def _run(job: Callable[[], Parts | None], pipe: int, memory: int, seconds: int) -> None:
    """The child: confined, it does the job, answers and ends, whatever happens."""
    global _inside  # noqa: PLW0603  this is another process
    _inside = True
    try:
        from robaudit.sandbox.confinement import confine  # noqa: PLC0415  Linux only

        confine(memory, seconds, pipe)
        try:
            answer = pack(RESULT, "", job() or {})
        except RobauditError as error:
            answer = pack(REFUSED, str(error), {})
        except MemoryError:
            answer = pack(MEMORY, "", {})
        except Exception as error:
            short = "alloc" in str(error) and isinstance(error, RuntimeError)  # as torch says it
            text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            answer = pack(MEMORY if short else FAILED, text, {})
        for part in answer:
            view = memoryview(part)
            while view:
                view = view[os.write(pipe, view) :]
    finally:
        os._exit(0)


class _Pipe:
    """Reading what the child answers, until its time is over."""

    def __init__(self, number: int, seconds: int) -> None:
        self._number, self._end = number, time.monotonic() + 4 * seconds + 10
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN | select.POLLHUP)

    def read(self, into: memoryview) -> int:
        """As many bytes as there are; 0 at the end."""
        left = self._end - time.monotonic()
        if left <= 0 or not self._poll.poll(1000 * left):
            raise TimeoutError
        return os.readv(self._number, [into])


def _failure(name: str, text: str) -> RobauditError:
    first, _, trace = text.partition("\n")
    error = RobauditError(f"{name}: cannot be read ({first[:160]}); it is damaged, get another copy")
    error.add_note(trace)
    return error


def _too_long(name: str, seconds: int) -> str:
    return f"{name}: takes longer than {seconds} seconds to read; it is damaged or made to, get another copy"


def _too_much(name: str, memory: int) -> str:
    return (
        f"{name}: takes more than {math.ceil(memory / (1 << 20)):,} MiB of memory to read; it is damaged or made to "
        "(--max-memory allows more)"
    )


def _ended(name: str, code: int, seconds: int, memory: int) -> str:
    """A sentence about a child that ended without an answer."""
    if code == -signal.SIGXCPU:
        return _too_long(name, seconds)
    if code == -signal.SIGKILL:
        return _too_much(name, memory)  # the system's own choice when it is short of memory
    how = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return f"{name}: ends the process that reads it ({how}); it is damaged or made to, get another copy"
