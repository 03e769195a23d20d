"""A file that survives."""

import json
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.errors import RobauditError
from robaudit.evidence import (
    EvidenceFile,
    ExampleRow,
    Header,
    MetricsRow,
    Outcome,
    OutcomeRow,
)
from robaudit.plan import AuditPlan, ThreatModel
from tests.evidence.edits import editing

MODEL = {
    "path": "m.pt", "sha256": "ab", "architecture": "resnet18", "normalisation": "none",
    "parameters": 9, "classes": 10, "notes": ["found by its names"],
}  # fmt: skip


DATA = {
    "name": "digits", "split": "test", "n": 5, "total": 5, "sha256": "cd", "shape": [1, 2, 2], "classes": 10,
}  # fmt: skip


def header(**changes):
    values = {
        "plan": AuditPlan(ThreatModel("Linf", 0.1)),
        "model": MODEL,
        "data": DATA,
        "versions": {"robaudit": "0", "torch": "2", "python": "3"},
        "device": "cpu",
    }
    return Header(**values | changes)


def fill(file):
    file.add_examples([ExampleRow(0, 7, 1, 1), ExampleRow(1, 3, 2, 0), ExampleRow(2, 4, 5, 5)])
    file.add_outcomes(
        [
            OutcomeRow("pgd10", 7, Outcome.BROKEN, 11, 11, 11, b"w", b"i"),
            OutcomeRow("pgd10", 4, Outcome.ROBUST, 11, 11, 11),
        ],
        [MetricsRow(7, 0.5, 0.25, 0.9, 2)],
    )


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.evidence"
    with EvidenceFile.create(path, header()) as file:
        fill(file)
    with EvidenceFile.open(path) as file:
        evidence = file.read()
        assert file.header() == header()
        assert [row.id for row in file.witnesses()] == [7]
        assert sorted(file.finished_ids("pgd10")) == [4, 7]
    assert evidence.ids.tolist() == [7, 3, 4]
    assert evidence.correct.tolist() == [True, False, True]
    assert evidence.survives("pgd10").tolist() == [False, False, True]
    assert evidence.fosc[0] == 0.5
    assert np.isnan(evidence.fosc[1:]).all()


def test_only_the_examples_before_the_first_gap_count(tmp_path):
    """Of a stretch under way the broken ones finish first; counting them would be biased."""
    with EvidenceFile.create(tmp_path / "a.evidence", header()) as file:
        file.add_examples([ExampleRow(k, k, 1, 1) for k in range(4)])
        file.add_outcomes([OutcomeRow("square", k, Outcome.BROKEN, 1, 1, 0, b"w", b"i") for k in (0, 2, 3)])
        assert file.read().known("square").tolist() == [True, False, False, False]


def test_autoattack_is_the_worst_case_of_the_four(tmp_path):
    with EvidenceFile.create(tmp_path / "a.evidence", header()) as file:
        file.add_examples([ExampleRow(k, k, 1, 1) for k in range(4)])
        rows = []
        for attack in ("apgd-ce", "apgd-t", "fab-t", "square"):
            outcomes = [Outcome.ROBUST, Outcome.BROKEN if attack == "square" else Outcome.ROBUST]
            outcomes += [Outcome.NONFINITE if attack == "apgd-t" else Outcome.ROBUST]
            rows += [OutcomeRow(attack, k, outcome, 1, 1, 0) for k, outcome in enumerate(outcomes)]
        file.add_outcomes([*rows, OutcomeRow("square", 3, Outcome.BROKEN, 1, 1, 0)])
        evidence = file.read()
    assert evidence.survives("autoattack").tolist() == [True, False, False, False]
    assert evidence.known("autoattack").tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": MODEL | {"sha256": "other"}}, "another model"),
        ({"data": DATA | {"sha256": "other"}}, "another data"),
        ({"plan": AuditPlan(ThreatModel("Linf", 0.2))}, "another plan"),
    ],
)
def test_another_audit_under_the_same_file_is_refused_with_the_reason(tmp_path, change, reason):
    path = tmp_path / "a.evidence"
    EvidenceFile.create(path, header()).close()
    with pytest.raises(RobauditError, match=reason):
        EvidenceFile.create(path, header(**change))
    EvidenceFile.create(path, header()).close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, just text" * 40, b"SQLite format 3\0" + b"\xff" * 500]
)
def test_a_foreign_or_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "a.evidence"
    path.write_bytes(content)
    for use in (lambda: EvidenceFile.open(path), lambda: EvidenceFile.create(path, header())):
        with pytest.raises(RobauditError, match="evidence"):
            use()
    assert path.read_bytes() == content


def test_another_database_is_refused(tmp_path):
    path = tmp_path / "a.evidence"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE header (key TEXT, value TEXT)")
    with pytest.raises(RobauditError, match="not an evidence file"):
        EvidenceFile.open(path)


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(RobauditError, match="no such evidence file"):
        EvidenceFile.open(tmp_path / "none")
    with pytest.raises(RobauditError, match="no such folder"):
        EvidenceFile.create(tmp_path / "no" / "a.evidence", header())
    with pytest.raises(RobauditError, match="is a folder"):
        EvidenceFile.create(tmp_path, header())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", MODEL | {"classes": "ten"}),
        ("model", {"path": "m.pt"}),
        ("model", MODEL | {"notes": [1]}),
        ("model", "resnet18"),
        ("data", DATA | {"shape": ["a", 2, 2]}),
        ("data", DATA | {"total": None}),
        ("data", DATA | {"n": [5]}),
        ("versions", {}),
        ("plan", {"seed": 0}),
        ("findings", [{"code": 7}]),
        ("findings", 3),
        ("seconds", "soon"),
        ("device", None),
        ("precision", 16),
    ],
)
def test_a_header_field_of_the_wrong_kind_is_a_damaged_file(tmp_path, field, value):
    path = tmp_path / "a.evidence"
    EvidenceFile.create(path, header()).close()
    with editing(path) as db:
        db.execute("INSERT OR REPLACE INTO header (value, key) VALUES (?, ?)", (json.dumps(value), field))
    with EvidenceFile.open(path) as file, pytest.raises(RobauditError, match="damaged one"):
        file.read()


def test_one_writer_at_a_time_and_readers_welcome(tmp_path):
    path = tmp_path / "a.evidence"
    with EvidenceFile.create(path, header()) as file:
        fill(file)
        with pytest.raises(RobauditError, match="another audit is writing it"):
            EvidenceFile.create(path, header())
        with EvidenceFile.open(path) as reader:
            assert len(reader.read()) == 3
    EvidenceFile.create(path, header()).close()


_HALF_WAY = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA cache_size = 1")  # the pages reach the file before the commit
with_witness = [("square", k, 1, 9, 9, 0, os.urandom(3000)) for k in range(300)]
db.executemany("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", with_witness)
os._exit(9)
"""


def test_a_write_cut_half_way_is_undone(tmp_path):
    path = tmp_path / "a.evidence"
    with EvidenceFile.create(path, header()) as file:
        fill(file)
    before = path.stat().st_size
    assert subprocess.run([sys.executable, "-c", _HALF_WAY, str(path)], check=False).returncode == 9
    assert path.stat().st_size > before + 100_000, "nothing had been written"
    with EvidenceFile.create(path, header()) as file:
        assert file.finished_ids("square") == []
        assert len(file.read()) == 3


def test_a_file_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.evidence"
    monkeypatch.setattr("robaudit.evidence.store.to_rows", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        EvidenceFile.create(path, header())
    assert not path.exists()
    monkeypatch.undo()
    EvidenceFile.create(path, header()).close()  # what was left half-made is not in the way
    assert [item.name for item in tmp_path.iterdir()] == ["a.evidence"]


@settings(max_examples=60, deadline=None)
@given(position=st.integers(100, 20000), value=st.integers(0, 255))
def test_a_flipped_byte_never_crashes_a_reader(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("flip") / "a.evidence"
    with EvidenceFile.create(path, header()) as file:
        fill(file)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        with EvidenceFile.open(path) as file:
            file.read()
            file.witnesses()
    except RobauditError:
        pass


def test_the_same_data_by_another_path_are_the_same_audit(tmp_path):
    path = tmp_path / "a.evidence"
    with EvidenceFile.create(path, header(data=DATA | {"name": "x/test.npz"})) as file:
        fill(file)
    with EvidenceFile.create(path, header(data=DATA | {"name": "/y/z/test.npz", "split": "val"})) as file:
        assert len(file.read()) == 3
    with pytest.raises(RobauditError, match="another data"):
        EvidenceFile.create(path, header(data=DATA | {"sha256": "ef"}))


def test_an_audit_that_two_versions_made_says_both(tmp_path):
    path = tmp_path / "a.evidence"
    EvidenceFile.create(path, header()).close()
    for version in ("1", "1", "2"):
        versions = {"robaudit": version, "torch": "2", "python": "3"}
        EvidenceFile.create(path, header(versions=versions)).close()
    with EvidenceFile.open(path) as file:
        assert file.header().versions == {"robaudit": "0, then 1, then 2", "torch": "2", "python": "3"}
        file.header()
    with EvidenceFile.create(path, header(versions={"robaudit": "2", "torch": "2", "python": "3"})) as file:
        file.update(finished=True)
    EvidenceFile.create(path, header(versions={"robaudit": "3", "torch": "2", "python": "3"})).close()
    with EvidenceFile.open(path) as file:
        assert file.header().versions["robaudit"] == "0, then 1, then 2"


@pytest.mark.parametrize("part", ["budget", "bounds"])
def test_a_later_version_s_field_of_the_plan_is_no_damage(tmp_path, part):
    path = tmp_path / "a.evidence"
    EvidenceFile.create(path, header()).close()
    plan = header().plan.to_dict()
    plan[part]["new_thing"] = 0.5 if part == "bounds" else 3
    with editing(path) as db:
        db.execute("UPDATE header SET value = ? WHERE key = 'plan'", (json.dumps(plan),))
    says = rf"the field 'plan\.{part}\.new_thing', which this version"
    with EvidenceFile.open(path) as file, pytest.raises(RobauditError, match=says):
        file.header()


def test_no_attack_of_autoattack_breaks_nothing(tmp_path):
    path = tmp_path / "a.evidence"
    with EvidenceFile.create(path, header(plan=AuditPlan(ThreatModel("Linf", 0.1), ("pgd10",)))) as file:
        fill(file)
        evidence = file.read()
    assert not evidence.survives("autoattack").any() and not evidence.broken("autoattack").any()
