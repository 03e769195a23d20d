"""What can go wrong with an evidence file, said in one clear error; and one writer at a time."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from robaudit.errors import RobauditError
from robaudit.evidence.fields import UnknownFieldError

if sys.platform != "win32":
    import fcntl


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite meets while it writes."""
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = str(error)
        if "readonly" in reason or "unable to open" in reason:
            advice = "it cannot be written here; choose another --evidence"
        elif "locked" in reason:
            advice = "another audit is writing it; wait for it or choose another --evidence"
        else:
            advice = "free some space or choose another --evidence; what was finished is kept"
        raise RobauditError(f"{path}: evidence could not be written ({reason}); {advice}") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    except FileExistsError:  # whoever makes a new file acts on it
        raise
    except OSError as error:
        raise RobauditError(
            f"{path}: evidence could not be written ({error.strerror or error}); choose another --evidence"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes of its contents."""
    try:
        yield
    except UnknownFieldError as error:
        raise RobauditError(
            f"{path}: holds {error}, which this version of robaudit does not know; read it with the version that wrote "
            "it, and do not trust it if none did"
        ) from error
    except (
        sqlite3.Error,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RobauditError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RobauditError(
        f"{path}: not an evidence file, or a damaged one ({reason}); run the audit again with another --evidence"
    )


def claim(path: Path) -> IO[bytes] | None:
    """Hold `path` for this process alone until what is returned is closed; a process that dies lets go of it.

    Raises:
        RobauditError: another process holds it.

    """
    if sys.platform == "win32":  # two writers are kept apart by SQLite's own locks only
        return None
    with explained(path):
        held = path.open("rb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.close()
        raise _taken(path) from error
    except OSError:  # a file system without locks
        pass
    if not path.exists() or not os.path.samestat(os.fstat(held.fileno()), path.stat()):  # replaced meanwhile
        held.close()
        raise _taken(path)
    return held


def _taken(path: Path) -> RobauditError:
    return RobauditError(f"{path}: another audit is writing it; wait for it or choose another --evidence")
