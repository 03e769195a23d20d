"""A running digest of every row, kept in the file by the same transactions: a changed bit anywhere is noticed.

It is the sum of a hash of each row, so a write costs only the rows that it touches and their order does not matter. It
finds damage, not forgery: whoever writes a file can write its digest.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: Each table's columns that tell its rows apart.
KEYS: dict[str, tuple[str, ...]] = {
    "header": ("key",),
    "examples": ("position",),
    "images": ("id",),
    "metrics": ("id",),
    "outcomes": ("attack", "id"),
    "answers": ("attack", "id"),
}
#: Where the header keeps it, and the number of such files that SQLite's own header keeps.
FIELD, VERSION = "digest", 1
_BYTES = 16
_MODULUS = 1 << 8 * _BYTES


def check(db: sqlite3.Connection) -> None:
    """Nothing, if the rows are those that were written; files of the first releases have no digest.

    Raises:
        ValueError: they are not.

    """
    stored = _stored(db)
    if stored is None:
        if db.execute("PRAGMA user_version").fetchone()[0]:
            raise ValueError("its digest is missing")
    elif stored != _hex(of_database(db)):
        raise ValueError("its rows are not those that were written")


def of_database(db: sqlite3.Connection) -> int:
    """The digest of all rows but its own."""
    return sum(_of_rows(table, db.execute(f"SELECT * FROM {table}")) for table in KEYS if _exists(db, table))


def begin(db: sqlite3.Connection) -> None:
    """Write the digest of what is there, within a transaction of the caller."""
    _store(db, of_database(db))
    db.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def following(db: sqlite3.Connection, touched: Mapping[str, Iterable[tuple[Any, ...]]]) -> Iterator[None]:
    """Keep the digest true over a block that changes the rows with these keys, by table, in one transaction."""
    if not db.in_transaction:
        db.execute("BEGIN IMMEDIATE")
    keys = {table: set(rows) for table, rows in touched.items()}
    before = _of_keys(db, keys)
    yield
    stored = _stored(db)
    if stored is not None:
        _store(db, int(stored, 16) + _of_keys(db, keys) - before)


def _of_keys(db: sqlite3.Connection, keys: dict[str, set[tuple[Any, ...]]]) -> int:
    total = 0
    for table, rows in keys.items():
        where = " AND ".join(f"{column} = ?" for column in KEYS[table])
        for key in rows:
            total += _of_rows(table, db.execute(f"SELECT * FROM {table} WHERE {where}", key))
    return total


def _of_rows(table: str, rows: Iterable[tuple[Any, ...]]) -> int:
    return sum(_of_row(table, row) for row in rows if row[0] != FIELD or table != "header")


def _of_row(table: str, row: tuple[Any, ...]) -> int:
    blobs = [value for value in row if type(value) is bytes]
    shown = [(len(value),) if type(value) is bytes else value for value in row]
    found = hashlib.blake2b(repr((table, shown)).encode(), digest_size=_BYTES)
    for blob in blobs:
        found.update(blob)
    return int.from_bytes(found.digest())


def _stored(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT value FROM header WHERE key = ?", (FIELD,)).fetchone()
    return None if row is None else str(json.loads(row[0]))


def _store(db: sqlite3.Connection, total: int) -> None:
    db.execute("INSERT OR REPLACE INTO header VALUES (?, ?)", (FIELD, json.dumps(_hex(total))))


def _hex(total: int) -> str:
    return f"{total % _MODULUS:0{2 * _BYTES}x}"


def _exists(db: sqlite3.Connection, table: str) -> bool:
    return bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())
