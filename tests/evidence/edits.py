"""Evidence changed on purpose, by somebody who knows how it is kept: its digest is made true again."""

import sqlite3
from contextlib import closing, contextmanager, suppress

from robaudit.evidence import digest
from robaudit.evidence.opening import left_half_written


@contextmanager
def editing(path):
    """A connection to change the file with; what it holds in the end is digested."""
    with closing(sqlite3.connect(path)) as db:
        with db:
            yield db
        steps = iter(range(2_000))
        db.set_progress_handler(lambda: next(steps, None) is None, 1000)
        with suppress(sqlite3.OperationalError), db:  # a view without end
            digest.begin(db)


def leave_half_written(path):
    """As a process leaves the file that is killed in the middle of a transaction: changed, and a journal beside it."""
    journal = path.with_name(f"{path.name}-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE outcomes SET steps = steps + 1")
        left = [(item, item.read_bytes()) for item in (path, journal)]
        db.execute("ROLLBACK")
    whole = path.read_bytes()
    for item, data in left:
        item.write_bytes(data)
    assert left[0][1] != whole
    assert left_half_written(path)
