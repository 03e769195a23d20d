"""Evidence changed on purpose, by somebody who knows how it is kept: its digest is made true again."""

import sqlite3
from contextlib import closing, contextmanager, suppress

from robaudit.evidence import digest


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
