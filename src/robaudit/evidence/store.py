"""The evidence file: one SQLite database, extended in transactions, so that a kill at any moment loses at most
the examples in flight. Anyone can read it with the `sqlite3` command.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from robaudit.errors import RobauditError
from robaudit.evidence.evidence import AttackRecord, Evidence, Header, Outcome
from robaudit.evidence.guard import claim, explained, reading
from robaudit.evidence.identity import IDENTITY, difference, from_rows, same, to_rows
from robaudit.evidence.opening import open_copy, refuse_foreign_journal
from robaudit.evidence.rows import ExampleRow, MetricsRow, OutcomeRow, WitnessRow
from robaudit.evidence.tables import ANSWERS, make_database


class EvidenceFile:
    """An open evidence file. Every `add_…` is one transaction: all of it is on disk, or none."""

    def __init__(self, path: Path, connection: sqlite3.Connection, held: IO[bytes] | None = None):
        self.path, self._db, self._held = path, connection, held

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """A new file; an existing unfinished one of the same audit is resumed.

        Raises:
            RobauditError: the file belongs to another audit, is damaged, held by another process, or cannot be written.

        """
        if path.is_dir():
            raise RobauditError(f"{path}: is a folder; give --evidence a file name")
        if path.exists() and not path.is_file():
            raise RobauditError(f"{path}: is a device or a pipe; give --evidence a file name")
        if path.exists() and path.stat().st_size:
            return cls._resume(path, header)
        if not path.parent.is_dir():
            raise RobauditError(f"{path.parent}: no such folder; create it or choose another --evidence")
        with explained(path):
            make_database(path, to_rows(header))
        return cls._resume(path, header)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing file, to read: a copy in memory, so that nothing on the disk changes.

        Raises:
            RobauditError: missing, not an evidence file, damaged, or of another schema.

        """
        return cls(path, open_copy(path))

    @classmethod
    def _resume(cls, path: Path, header: Header) -> Self:
        held = claim(path)
        try:
            db = _writable(path)
        except RobauditError:
            if held:
                held.close()
            raise
        file = cls(path, db, held)
        with reading(path):
            stored = dict(file._db.execute("SELECT key, value FROM header"))
            stored = {key: json.loads(stored[key]) for key in IDENTITY}
            wanted = {key: json.loads(value) for key, value in to_rows(header) if key in IDENTITY}
            changed = [key for key in IDENTITY if not same(key, stored[key], wanted[key])]
        if changed:
            file.close()
            where = difference(changed[0], stored[changed[0]], wanted[changed[0]])
            raise RobauditError(
                f"{path}: holds an audit with another {' and '.join(changed)}{where}; "
                "choose another --evidence, or delete it"
            )
        with explained(path), file._db:
            file._db.execute(ANSWERS)
        return file

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        if self._held:
            self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_examples(self, rows: Iterable[ExampleRow]) -> None:
        """Record what the model says of clean inputs."""
        with explained(self.path), self._db:
            self._db.executemany(
                "INSERT INTO examples (position, id, label, prediction) VALUES (?, ?, ?, ?)",
                [dataclasses.astuple(row) for row in rows],
            )

    def add_outcomes(self, rows: Iterable[OutcomeRow], metrics: Iterable[MetricsRow] = ()) -> None:
        """Record finished examples, and what PGD-10's trajectory gave of each."""
        rows = list(rows)
        with explained(self.path), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(r.attack, r.id, int(r.outcome), r.steps, r.forwards, r.backwards, r.witness) for r in rows],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO images VALUES (?, ?)",
                [(r.id, r.image) for r in rows if r.image is not None],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                [(r.attack, r.id, r.prediction) for r in rows if r.prediction is not None],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?)",
                [dataclasses.astuple(row) for row in metrics],
            )

    def update(self, **values: Any) -> None:
        """Change header fields: `seconds`, `finished`, `probes`, `course`, `claim`, `precision`."""
        with explained(self.path), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO header VALUES (?, ?)", [(k, json.dumps(v)) for k, v in values.items()]
            )

    def header(self) -> Header:
        """The plan, the model, the data.

        Raises:
            RobauditError: a field is damaged or of another version.

        """
        with reading(self.path):
            stored = dict(self._db.execute("SELECT key, value FROM header"))
            data = {key: json.loads(value) for key, value in stored.items()}
            return from_rows(data)

    def read(self) -> Evidence:
        """Everything but the witnesses."""
        with reading(self.path):
            table = self._db.execute(
                "SELECT id, label, prediction, fosc, fosc_normalised, sgcs, zero_gradients "
                "FROM examples LEFT JOIN metrics USING (id) ORDER BY position"
            ).fetchall()
            outcomes = self._db.execute(
                "SELECT attack, id, outcome, steps, forwards, backwards FROM outcomes"
            ).fetchall()
            columns = list(zip(*table, strict=True)) or [()] * 7
            ids, labels, predictions = (np.array(column, dtype=np.int64) for column in columns[:3])
            metrics = [np.array(column, dtype=np.float64) for column in columns[3:]]
            return Evidence(self.header(), ids, labels, predictions, _records(outcomes, ids), *metrics)

    def columns(self, table: str, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of one table, row by row; no row where the file is too old to have the table."""
        with reading(self.path):
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                return []
            return self._db.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()

    def finished_ids(self, attack: str) -> list[int]:
        """The ids of the examples that `attack` has been run on."""
        with reading(self.path):
            rows = self._db.execute("SELECT id FROM outcomes WHERE attack = ?", (attack,)).fetchall()
        return [row[0] for row in rows]

    def rows(self) -> tuple[list[OutcomeRow], list[MetricsRow]]:
        """Everything that `add_outcomes` was given, for another file."""
        with reading(self.path):
            outcomes = self._db.execute(
                "SELECT attack, id, outcome, steps, forwards, backwards, witness, image, prediction FROM outcomes "
                "LEFT JOIN images USING (id) LEFT JOIN answers USING (attack, id)"
            ).fetchall()
            metrics = self._db.execute("SELECT * FROM metrics").fetchall()
            return [OutcomeRow(r[0], r[1], Outcome(r[2]), *r[3:]) for r in outcomes], [
                MetricsRow(*r) for r in metrics
            ]

    def clear(self) -> None:
        """Forget every outcome."""
        with explained(self.path), self._db:
            for table in ("outcomes", "images", "metrics", "answers"):
                self._db.execute(f"DELETE FROM {table}")

    def witnesses(self) -> list[WitnessRow]:
        """Every claimed break, with the clean image it starts from."""
        with reading(self.path):
            known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone()
            column, join = (
                ("p.prediction", "LEFT JOIN answers p ON p.attack = o.attack AND p.id = o.id ")
                if known
                else ("NULL", "")
            )
            rows = self._db.execute(
                f"SELECT o.attack, o.id, e.label, i.image, o.witness, {column} FROM outcomes o "
                f"JOIN examples e ON e.id = o.id LEFT JOIN images i ON i.id = o.id {join}"
                "WHERE o.outcome = ? ORDER BY e.position, o.attack",
                (int(Outcome.BROKEN),),
            ).fetchall()
        if any(row[3] is None or row[4] is None for row in rows):
            raise RobauditError(
                f"{self.path}: a break without its witness; the file is damaged, run the audit again"
            )
        return [WitnessRow(*row) for row in rows]


def _writable(path: Path) -> sqlite3.Connection:
    """The database itself, after what a killed audit left half-written was rolled back."""
    refuse_foreign_journal(path)
    with reading(path):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=5)
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("BEGIN IMMEDIATE").close()
            db.rollback()
            open_copy(path).close()  # it is ours, and whole
        except BaseException:
            db.close()
            raise
    return db


def _records(outcomes: list[tuple[Any, ...]], ids: np.ndarray) -> dict[str, AttackRecord]:
    place = {key: row for row, key in enumerate(ids.tolist())}
    records: dict[str, AttackRecord] = {}
    for attack, key, outcome, steps, forwards, backwards in outcomes:
        if attack not in records:
            zeros = np.zeros(len(ids), dtype=np.int64)
            records[attack] = AttackRecord(
                zeros + int(Outcome.NOT_RUN), zeros.copy(), zeros.copy(), zeros.copy()
            )
        record, row = records[attack], place[key]
        record.outcome[row], record.steps[row] = Outcome(outcome), steps
        record.forwards[row], record.backwards[row] = forwards, backwards
    return records
