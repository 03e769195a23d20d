"""Evidence changed on purpose, by somebody who knows how it is kept: its digest is made true again."""

import sqlite3
from contextlib import closing, contextmanager

from robaudit.evidence import digest


@contextmanager
def editing(path):
    """A connection to change the file with; what it holds in the end is digested."""
    with closing(sqlite3.connect(path)) as db:
        with db:
            yield db
        with db:
            digest.begin(db)
