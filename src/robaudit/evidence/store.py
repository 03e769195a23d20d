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

from robaudit.errors import RobauditError
from robaudit.evidence import digest
from robaudit.evidence.evidence import Evidence, Header, Outcome
from robaudit.evidence.guard import claim, explained, reading
from robaudit.evidence.identity import IDENTITY, difference, from_rows, joined, same, to_rows, within_wanted
from robaudit.evidence.opening import left_half_written, open_copy, refuse_foreign_journal
from robaudit.evidence.reading import read_evidence, read_witnesses
from robaudit.evidence.rows import ExampleRow, MetricsRow, OutcomeRow, WitnessRow
from robaudit.evidence.tables import ANSWERS, make_database


class EvidenceFile:
    """An open evidence file. Every `add_…` is one transaction: all of it is on disk, or none."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, held: IO[bytes] | None = None, sha256: str = ""
    ):
        self.path, self._db, self._held, self.sha256 = path, connection, held, sha256

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
            return cls._resume(path, header, claim(path))
        if not path.parent.is_dir():
            raise RobauditError(f"{path.parent}: no such folder; create it or choose another --evidence")
        held = claim(path) if path.exists() else None  # an empty file is taken over by one process
        try:
            with explained(path):
                mine = make_database(path, to_rows(header), new=not held)
        except FileExistsError:  # another was faster
            mine = claim(path)
        finally:
            if held:
                held.close()
        return cls._resume(path, header, mine)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing file, to read: a copy in memory, so that nothing on the disk changes.

        Raises:
            RobauditError: missing, not an evidence file, damaged, or of another schema.

        """
        db, sha256 = open_copy(path)
        return cls(path, db, sha256=sha256)

    @staticmethod
    def repair(path: Path) -> None:
        """Roll back what an audit that was killed left half-written in its own file; nothing where that is whole.

        Raises:
            RobauditError: another process is writing the file, or it cannot be written to.

        """
        if not (path.is_file() and left_half_written(path)):
            return
        held = claim(path)
        try:
            _writable(path).close()
        finally:
            if held:
                held.close()

    @classmethod
    def _resume(cls, path: Path, header: Header, held: IO[bytes] | None) -> Self:
        try:
            db = _writable(path)
        except RobauditError:
            if held:
                held.close()
            raise
        file = cls(path, db, held)
        try:
            file.header()
            other = file.other(header)
            if other:
                raise RobauditError(f"{path}: holds an audit with another {other}; choose another --evidence")
            with explained(path), db:  # what files of the first releases lack
                db.execute(ANSWERS)
                if digest.FIELD not in file._fields():
                    digest.begin(db)
            before = file.header()
            within = within_wanted(before, header.plan.within)
            if within != before.plan.within:
                before = dataclasses.replace(before, finished=False)
                file.update(plan=dataclasses.replace(before.plan, within=within).to_dict(), finished=False)
            if not before.finished and before.versions != header.versions:
                file.update(versions=joined(before.versions, header.versions))
        except BaseException:
            file.close()
            raise
        return file

    def other(self, header: Header) -> str:
        """In what it is of another audit than `header`, in words; empty where it is of the same."""
        with reading(self.path):
            stored = self._fields()
            wanted = {key: json.loads(value) for key, value in to_rows(header) if key in IDENTITY}
            changed = [key for key in IDENTITY if not same(key, stored[key], wanted[key])]
        if not changed:
            return ""
        first = changed[0]
        return f"{' and '.join(changed)}{difference(first, stored[first], wanted[first])}"

    def _fields(self) -> dict[str, Any]:
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM header")}

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
        values = [dataclasses.astuple(row) for row in rows]
        with (
            explained(self.path),
            self._db,
            digest.following(self._db, {"examples": [v[:1] for v in values]}),
        ):
            self._db.executemany(
                "INSERT INTO examples (position, id, label, prediction) VALUES (?, ?, ?, ?)", values
            )

    def add_outcomes(self, rows: Iterable[OutcomeRow], metrics: Iterable[MetricsRow] = ()) -> None:
        """Record finished examples, and what PGD-10's trajectory gave of each."""
        rows, metrics = list(rows), list(metrics)
        ids = {(row.id,) for row in rows}
        outcomes = [(row.attack, row.id) for row in rows]
        touched = {
            "outcomes": outcomes,
            "answers": outcomes,
            "images": ids,
            "metrics": [(m.id,) for m in metrics],
        }
        with explained(self.path), self._db, digest.following(self._db, touched):
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
        """Change header fields: `plan`, `seconds`, `finished`, `probes`, `early_stopping`, `claim`, `precision`."""
        with (
            explained(self.path),
            self._db,
            digest.following(self._db, {"header": [(key,) for key in values]}),
        ):
            self._db.executemany(
                "INSERT OR REPLACE INTO header VALUES (?, ?)", [(k, json.dumps(v)) for k, v in values.items()]
            )

    def header(self) -> Header:
        """The plan, the model, the data.

        Raises:
            RobauditError: a field is damaged or of another version.

        """
        with reading(self.path):
            return from_rows(self._fields())

    def read(self) -> Evidence:
        """Everything but the witnesses."""
        header = self.header()
        with reading(self.path):
            return read_evidence(self._db, header)

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
            digest.begin(self._db)

    def witnesses(self) -> list[WitnessRow]:
        """Every claimed break, with the clean image it starts from."""
        header = self.header()
        with reading(self.path):
            return read_witnesses(self._db, header)


def _writable(path: Path) -> sqlite3.Connection:
    """The database itself, after what a killed audit left half-written was rolled back."""
    refuse_foreign_journal(path)
    with reading(path):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=5)
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("BEGIN IMMEDIATE").close()
            db.rollback()
            open_copy(path)[0].close()  # it is ours, and whole
        except BaseException:
            db.close()
            raise
    return db
