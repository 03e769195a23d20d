"""An evidence file from anybody as a database in memory: read once, checked, and never written to.

SQLite acts on what lies beside a file: a journal rolls it back and may name other files to be deleted. A copy in memory
has nothing beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import robaudit
from robaudit.errors import RobauditError
from robaudit.evidence import digest
from robaudit.evidence.evidence import SCHEMA
from robaudit.evidence.fields import HEADER_FIELDS, newer
from robaudit.evidence.guard import reading
from robaudit.evidence.tables import APPLICATION_ID, statements
from robaudit.files import read_file
from robaudit.spelling import meant_path

#: Bytes of an evidence file; that of 10,000 images of 224 x 224, all broken by every attack, has 8 GB.
LARGEST = 16 << 30
#: Operations before a file is given up, and those that each byte of it allows beside them.
_MOST_STEPS, _STEPS_A_BYTE = 20_000_000, 5
#: Bytes of all header fields together.
_LONGEST_HEADER = 16 << 20
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 64 << 20,  # bytes of one value: one image
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 16,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 5,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
#: Seconds that a writer may take for a transaction.
_PATIENCE = 5.0
_MAGIC = b"SQLite format 3\0"
#: How SQLite ends a journal that names another file.
_NAMES_ANOTHER = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"


def open_copy(path: Path) -> tuple[sqlite3.Connection, str]:
    """A database in memory with what the file holds, of exactly our tables, and the sha256 of the file.

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
            _restrict(db, len(data))
            _check(db, path)
        except BaseException:
            db.close()
            raise
    return db, hashlib.sha256(data).hexdigest()


def refuse_foreign_journal(path: Path) -> None:
    """Nothing, unless what lies beside the file would make SQLite touch other files.

    Raises:
        RobauditError: a journal that names another file, or one that is not a plain file, or files of another mode.

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
    deadline = time.monotonic() + _PATIENCE
    while True:
        if not left_half_written(path):
            data = _bytes(path)
            unchanged = _bytes(path, 100)[24:28] == data[24:28]  # its count of changes
            if unchanged and not left_half_written(path):
                return data
        if time.monotonic() > deadline:
            raise RobauditError(
                f"{path}: was left in the middle of a write; run the same audit again, which repairs it"
            )
        time.sleep(0.05)


def left_half_written(path: Path) -> bool:
    """Whether the file has begun to change and is not whole; until then SQLite leaves its journal's first byte 0."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        return read_file(journal, LARGEST, 1) not in (b"", b"\0")
    except OSError:
        return False
    except ValueError:  # no plain file: planted
        return True


def _bytes(path: Path, first: int | None = None) -> bytes:
    try:
        return read_file(path, _most_bytes(), first)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RobauditError(
            f"{path}: no such evidence file{meant_path(str(path))}; `robaudit check --evidence` writes one"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RobauditError(f"{path}: cannot be read ({reason}); pass an evidence file") from error


def _most_bytes() -> int:
    """What there is memory for: the file, and SQLite's copy of it."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return LARGEST
    return min(LARGEST, memory // 3) if memory > 0 else LARGEST


def _restrict(db: sqlite3.Connection, size: int) -> None:
    steps = iter(range((_MOST_STEPS + _STEPS_A_BYTE * size) // 1000))
    db.set_progress_handler(lambda: next(steps, None) is None, 1000)
    for limit, most in _LIMITS.items():
        db.setlimit(limit, most)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        db.execute(f"PRAGMA {pragma}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    known = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    tables = {name: _plain(sql) for name, sql in db.execute("SELECT name, sql FROM sqlite_master") if sql}
    if not known or "header" not in tables:
        raise RobauditError(f"{path}: not an evidence file; `robaudit check --evidence` writes one")
    wanted = {name: _plain(sql) for name, sql in statements().items()}
    ours = tables in (wanted, {name: sql for name, sql in wanted.items() if name != "answers"})
    if tables["header"] != wanted["header"]:
        raise RobauditError(f"{path}: has other tables than evidence has; do not trust it")
    _refuse_newer(db, path, ours)
    if not ours:
        raise RobauditError(f"{path}: has other tables than evidence has; do not trust it")
    answer = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(str(answer).splitlines()[0])
    digest.check(db)


def _refuse_newer(db: sqlite3.Connection, path: Path, ours: bool) -> None:
    """Nothing, unless a later version of robaudit wrote what this one may not understand."""
    size = db.execute("SELECT sum(length(key) + length(value)) FROM header").fetchone()[0] or 0
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header has {size:,} bytes")
    fields = {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM header")}
    if "schema" not in fields:
        raise RobauditError(f"{path}: not an evidence file; `robaudit check --evidence` writes one")
    schema, versions = fields["schema"], fields.get("versions")
    writer = versions.get("robaudit") if isinstance(versions, dict) else None
    version = db.execute("PRAGMA user_version").fetchone()[0]
    known = set(HEADER_FIELDS) >= fields.keys() - {"schema", digest.FIELD}
    if schema == SCHEMA and ours and known and version in (0, digest.VERSION):
        return
    if newer(writer) or version > digest.VERSION or _number(schema) > _number(SCHEMA):
        raise RobauditError(
            f"{path}: was written by a later version of robaudit ({writer!r:.20}, schema {schema!r:.20}); "
            f"this is {robaudit.__version__}, upgrade it to read the file"
        )
    if schema != SCHEMA:
        raise RobauditError(f'{path}: evidence of schema {schema!r:.40}, not "{SCHEMA}"; run the audit again')


def _number(schema: Any) -> int:
    """The number in `robaudit/1`; 0 where it is none."""
    found = re.fullmatch(r"robaudit/(\d{1,6})", schema) if isinstance(schema, str) else None
    return int(found[1]) if found else 0


def _plain(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).replace("IF NOT EXISTS ", "").strip()
