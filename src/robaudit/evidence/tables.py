"""The tables of an evidence file, and an empty one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import IO

from robaudit.evidence import digest
from robaudit.evidence.guard import claim
from robaudit.files import replacing

#: "roba", where SQLite keeps what kind of file it is.
APPLICATION_ID = 0x726F6261
_TABLES = """
CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE examples (
    position INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, label INTEGER NOT NULL,
    prediction INTEGER NOT NULL);
CREATE TABLE images (id INTEGER PRIMARY KEY, image BLOB NOT NULL);
CREATE TABLE metrics (id INTEGER PRIMARY KEY, fosc REAL, fosc_normalised REAL, sgcs REAL, zero_gradients REAL);
CREATE TABLE outcomes (
    attack TEXT NOT NULL, id INTEGER NOT NULL, outcome INTEGER NOT NULL, steps INTEGER NOT NULL,
    forwards INTEGER NOT NULL, backwards INTEGER NOT NULL, witness BLOB,
    PRIMARY KEY (attack, id)) WITHOUT ROWID;
"""
#: Files of the first releases lack it.
ANSWERS = (
    "CREATE TABLE IF NOT EXISTS answers (attack TEXT NOT NULL, id INTEGER NOT NULL, prediction INTEGER NOT NULL, "
    "PRIMARY KEY (attack, id)) WITHOUT ROWID"
)


def statements() -> dict[str, str]:
    """What makes each table, by its name."""
    made = (sql.strip() for sql in (*_TABLES.split(";"), ANSWERS) if sql.strip())
    return {sql.partition("(")[0].split()[-1]: sql for sql in made}


def make_database(path: Path, header: Iterable[tuple[str, str]], *, new: bool) -> IO[bytes] | None:
    """A database with a header and nothing else, whole or not at all: a kill leaves no file that is not evidence.

    Args:
        path: of the file.
        header: its rows.
        new: nothing may be at `path` yet.

    Returns:
        what `guard.claim` gives: from the first moment the file is this process's.

    Raises:
        FileExistsError: something is at `path`, and `new` is asked for.
        OSError, sqlite3.Error: it cannot be written.

    """
    held = None
    try:
        with replacing(path, new=new) as partial:
            with closing(sqlite3.connect(partial)) as db, db:
                for statement in statements().values():
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.executemany("INSERT INTO header VALUES (?, ?)", header)
                digest.begin(db)
            held = claim(partial)
    except BaseException:
        if held:
            held.close()
        raise
    return held
