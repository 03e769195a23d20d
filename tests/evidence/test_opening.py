"""Evidence from anybody is only read: nothing beside it acts, nothing in it runs."""

import os
import shutil
import sqlite3
import struct

import pytest

from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile
from tests.evidence.test_store import header


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "a.evidence"
    EvidenceFile.create(place, header()).close()
    return place


def plant_journal(path, victim):
    """A journal that is rolled back by whoever opens the file to write; SQLite then deletes the file it names."""
    page = 4096
    head = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(
        ">IIIII", 0, 0, path.stat().st_size // page, 512, page
    )
    name = os.fsencode(victim)
    end = (
        struct.pack(">I", (0x40000000 // page) + 1)
        + name
        + struct.pack(">II", len(name), sum(name))
        + head[:8]
    )
    path.with_name(f"{path.name}-journal").write_bytes(head.ljust(512, b"\0") + end)


def test_a_planted_journal_deletes_nothing(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    plant_journal(copy, victim)
    sqlite3.connect(copy).execute("SELECT * FROM header").close()
    assert not victim.exists(), "the trick works on whoever opens the file itself"
    victim.write_text("precious")
    plant_journal(path, victim)
    before = path.read_bytes()
    for use in (lambda: EvidenceFile.open(path), lambda: EvidenceFile.create(path, header())):
        with pytest.raises(RobauditError, match=r"middle of a write|is not left by robaudit"):
            use()
    assert victim.read_text() == "precious"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON outcomes BEGIN DELETE FROM examples; END",
        "CREATE TABLE extra (x)",
        "CREATE INDEX i ON outcomes (steps)",
        "DROP TABLE images",
        "ALTER TABLE examples ADD COLUMN more",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
    ],
)
def test_other_tables_than_ours_are_refused(path, statement):
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    for use in (lambda: EvidenceFile.open(path), lambda: EvidenceFile.create(path, header())):
        with pytest.raises(RobauditError, match=r"other tables|not an evidence file"):
            use()


def test_a_view_in_place_of_a_table_is_refused(path):
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE images")
        db.execute("CREATE VIEW images AS SELECT 1 AS id, randomblob(100000000) AS image")
    db.close()
    with pytest.raises(RobauditError, match="other tables"):
        EvidenceFile.open(path)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(RobauditError, match=r"cannot be read|not an evidence file"):
            EvidenceFile.open(type(tmp_path)(place))


def test_files_of_another_mode_are_refused(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    with pytest.raises(RobauditError, match="not an evidence file"):
        EvidenceFile.open(path)


def test_reading_needs_no_right_to_write_and_changes_nothing(path):
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        names = sorted(path.parent.iterdir())
        with EvidenceFile.open(path) as file:
            file.header()
            with pytest.raises(RobauditError):
                file.update(seconds=1.0)
        assert sorted(path.parent.iterdir()) == names
    finally:
        path.parent.chmod(0o755)


def test_what_an_older_version_wrote_still_reads(path):
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE answers")
    db.close()
    with EvidenceFile.open(path) as file:
        assert file.witnesses() == []
    EvidenceFile.create(path, header()).close()
