"""From the rows of an evidence file to `Evidence`: every number within its range, every row of something known."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from robaudit.evidence.evidence import AttackRecord, Evidence, Header, Ints, Outcome
from robaudit.evidence.fields import LARGEST_METRIC, UnknownFieldError
from robaudit.evidence.rows import WitnessRow
from robaudit.evidence.scouts import SCOUTS

#: Passes or steps of one attack on one example.
_MOST_STEPS = 1 << 40
_LARGEST_ID = 1 << 53


def read_evidence(db: sqlite3.Connection, header: Header) -> Evidence:
    """Everything but the witnesses.

    Raises:
        UnknownFieldError: outcomes of an attack that this version does not know.
        ValueError, sqlite3.Error: the rows are damaged.

    """
    table = db.execute("SELECT id, label, prediction FROM examples ORDER BY position").fetchall()
    if len(table) > header.data["n"]:
        raise ValueError(f"{len(table)} examples of {header.data['n']}")
    ids, labels, predictions = list(zip(*table, strict=True)) or [()] * 3
    evidence = Evidence(
        header,
        _whole("id", ids, 0, _LARGEST_ID),
        _whole("label", labels, 0, _classes(header) - 1),
        _whole("prediction", predictions, -1, _classes(header) - 1),
    )
    place = {key: row for row, key in enumerate(ids)}
    if len(place) != len(ids):
        raise ValueError("an example stands twice")
    for name, columns in (("images", "id"), ("answers", "id, prediction")):
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone():
            for row in db.execute(f"SELECT {columns} FROM {name}"):
                _whole(f"a number of {name}", row, 0, _LARGEST_ID)
    evidence.attacks.update(_outcomes(db, place, {*header.plan.attacks, *SCOUTS}))
    return _with_metrics(db, place, evidence)


def read_witnesses(db: sqlite3.Connection, header: Header) -> list[WitnessRow]:
    """Every claimed break, with the clean image it starts from, in the audit's order.

    Raises:
        ValueError, sqlite3.Error: the rows are damaged.

    """
    known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone()
    column, join = (
        ("p.prediction", "LEFT JOIN answers p ON p.attack = o.attack AND p.id = o.id ")
        if known
        else ("NULL", "")
    )
    rows = db.execute(
        f"SELECT o.attack, o.id, e.label, i.image, o.witness, {column} FROM outcomes o "
        f"JOIN examples e ON e.id = o.id LEFT JOIN images i ON i.id = o.id {join}"
        "WHERE o.outcome = ? ORDER BY e.position, o.attack",
        (int(Outcome.BROKEN),),
    ).fetchall()
    if any(type(image) is not bytes or type(witness) is not bytes for *_, image, witness, _ in rows):
        raise ValueError("there is a break without its witness")
    _whole("prediction", [row[-1] for row in rows if row[-1] is not None], 0, _classes(header) - 1)
    return [WitnessRow(*row) for row in rows]


def _classes(header: Header) -> int:
    return max(int(header.model["classes"]), int(header.data["classes"]))


def _outcomes(
    db: sqlite3.Connection, place: dict[int, int], known: Collection[str]
) -> dict[str, AttackRecord]:
    names = [row[0] for row in db.execute("SELECT DISTINCT attack FROM outcomes")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownFieldError(f"outcomes of the attack {unknown[0]!r:.40}")
    return {name: _record(db, name, place) for name in names}


def _record(db: sqlite3.Connection, attack: str, place: dict[int, int]) -> AttackRecord:
    rows = db.execute(
        "SELECT id, outcome, steps, forwards, backwards FROM outcomes WHERE attack = ?", (attack,)
    ).fetchall()
    ids, outcomes, *counts = zip(*rows, strict=True)
    where = _places(place, ids)
    filled = []
    for start, column in (
        (int(Outcome.NOT_RUN), _whole("outcome", outcomes, min(Outcome), max(Outcome))),
        *((0, _whole("steps", column, 0, _MOST_STEPS)) for column in counts),
    ):
        values = np.full(len(place), start, dtype=np.int64)
        values[where] = column
        filled.append(values)
    return AttackRecord(*filled)


def _with_metrics(db: sqlite3.Connection, place: dict[int, int], evidence: Evidence) -> Evidence:
    rows = db.execute("SELECT id, fosc, fosc_normalised, sgcs, zero_gradients FROM metrics").fetchall()
    measured = np.full((4, len(place)), np.nan)
    if rows:
        ids, *columns = zip(*rows, strict=True)
        for value in itertools.chain(*columns):
            if not (value is None or (type(value) is float and not LARGEST_METRIC < abs(value) < math.inf)):
                raise ValueError(f"metric {value!r:.40}")
        measured[:, _places(place, ids)] = np.array(columns, dtype=np.float64)
    return Evidence(
        evidence.header, evidence.ids, evidence.labels, evidence.predictions, evidence.attacks, *measured
    )


def _places(place: dict[int, int], ids: Sequence[Any]) -> list[int]:
    """The rows of these examples."""
    try:
        return [place[key] for key in ids]
    except KeyError as error:
        raise ValueError("there are rows of an example that is not in it") from error


def _whole(name: str, column: Sequence[Any], low: int, high: int) -> Ints:
    for value in column:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} {value!r:.40}")
    return np.array(column, dtype=np.int64)
