"""An evidence file from anybody as a database in memory: read once, checked, and never written to.

SQLite acts on what lies beside a file: a journal rolls it back and may name other files to be deleted. A copy in memory
has nothing beside it.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from pathlib import Path

from robaudit.errors import RobauditError
from robaudit.evidence.evidence import SCHEMA
from robaudit.evidence.guard import reading
from robaudit.evidence.tables import APPLICATION_ID, statements
from robaudit.files import read_file

#: Bytes of an evidence file; that of 10,000 images of 224 x 224, all broken by every attack, has 8 GB.
LARGEST = 16 << 30
#: Bytes of one value, and operations of one query (a thousand a step) before it is given up.
_LONGEST_VALUE, _MOST_STEPS = 64 << 20, 20_000_000
#: Seconds that a writer may take for a transaction.
_PATIENCE = 5.0
_MAGIC = b"SQLite format 3\0"
#: How SQLite ends a journal that names another file.
_NAMES_ANOTHER = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"


def open_copy(path: Path) -> sqlite3.Connection:
    """A database in memory with what the file holds, of exactly our tables.

    Raises:
        RobauditError: no such file, none of ours, damaged, of another schema, or left half-written.

    """
    data = _whole(path)
    if data[:16] != _MAGIC or data[18:20] != b"\1\1":  # 2 would want a second file beside it
        raise RobauditError(f"{path}: not an evidence file; `robaudit check --evidence` writes one")
    with reading(path):
        db = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            db.deserialize(data)
            _restrict(db)
            _check(db, path)
        except BaseException:
            db.close()
            raise
    return db


def refuse_foreign_journal(path: Path) -> None:
    """Nothing, unless what lies beside the file would make SQLite touch other files.

    Raises:
        RobauditError: a journal that names another file, or one that is no plain file, or files of another mode.

    """
    for ending in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + ending)
        if not beside.exists() and not beside.is_symlink():
            continue
        plain = ending == "-journal" and beside.is_file() and not beside.is_symlink()
        if not plain or _tail(beside) == _NAMES_ANOTHER:
            raise RobauditError(f"{beside}: is not left by robaudit; remove it, or choose another --evidence")


def _tail(journal: Path) -> bytes:
    with journal.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - len(_NAMES_ANOTHER), 0))
        return file.read()


def _whole(path: Path) -> bytes:
    """The file's bytes, of a moment at which nobody was writing."""
    journal = path.with_name(f"{path.name}-journal")
    deadline = time.monotonic() + _PATIENCE
    while True:
        if not _is_hot(journal):
            data = _bytes(path)
            if not _is_hot(journal) and _bytes(path, 100)[24:28] == data[24:28]:  # its count of changes
                return data
        if time.monotonic() > deadline:
            raise RobauditError(
                f"{path}: was left in the middle of a write; run the same audit again, which repairs it"
            )
        time.sleep(0.05)


def _is_hot(journal: Path) -> bool:
    """Whether the database has begun to change; until then SQLite leaves a journal's first byte 0."""
    try:
        return read_file(journal, LARGEST, 1) not in (b"", b"\0")
    except OSError:
        return False
    except ValueError:  # no plain file: planted
        return True


def _bytes(path: Path, first: int | None = None) -> bytes:
    try:
        return read_file(path, LARGEST, first)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RobauditError(
            f"{path}: no such evidence file; `robaudit check --evidence` writes one"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RobauditError(f"{path}: cannot be read ({reason}); pass an evidence file") from error


def _restrict(db: sqlite3.Connection) -> None:
    steps = iter(range(_MOST_STEPS // 1000))
    db.set_progress_handler(lambda: next(steps, None) is None, 1000)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        db.execute(f"PRAGMA {pragma}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    known = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    tables = {name: _plain(sql) for name, sql in db.execute("SELECT name, sql FROM sqlite_master") if sql}
    schema = db.execute("SELECT value FROM header WHERE key = 'schema'").fetchone() if known else None
    if schema is None:
        raise RobauditError(f"{path}: not an evidence file; `robaudit check --evidence` writes one")
    if json.loads(schema[0]) != SCHEMA:
        raise RobauditError(
            f'{path}: evidence of schema {schema[0]:.40}, not "{SCHEMA}"; run the audit again'
        )
    wanted = {name: _plain(sql) for name, sql in statements().items()}
    if tables not in (wanted, {name: sql for name, sql in wanted.items() if name != "answers"}):
        raise RobauditError(f"{path}: has other tables than evidence has; do not trust it")
    answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(str(answer).splitlines()[0])


def _plain(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).replace("IF NOT EXISTS ", "").strip()
