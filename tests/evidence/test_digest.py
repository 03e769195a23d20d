"""The running digest is true after every write, whatever was written before and whenever the writer was killed."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.evidence import EvidenceFile, ExampleRow, MetricsRow, Outcome, OutcomeRow, digest
from tests.hostile.specimen import header

_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from robaudit.evidence import EvidenceFile, ExampleRow, Outcome, OutcomeRow
from tests.hostile.specimen import header
with EvidenceFile.create(Path(sys.argv[1]), header()) as file:
    if not len(file.read()):
        file.add_examples([ExampleRow(k, k, 1, 1) for k in range(5)])
    for turn in range(100_000):
        rows = [OutcomeRow("square", k, Outcome.BROKEN, turn, 1, 0, b"w" * 5000, b"i" * 100, 2) for k in range(5)]
        file.add_outcomes(rows)
        file.update(seconds=float(turn))
        print(turn, flush=True)
"""


def is_true(path):
    with closing(sqlite3.connect(path)) as db:
        digest.check(db)
        return digest.of_database(db)


def test_a_writer_killed_at_any_moment_leaves_a_file_that_is_read_and_resumed(tmp_path):
    path, draws = tmp_path / "a.evidence", random.Random(0)
    root = str(Path(__file__).parents[2])
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), root], stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            time.sleep(draws.uniform(0.0, 0.05))
            child.send_signal(signal.SIGKILL)
        with EvidenceFile.create(path, header()) as file:
            assert len(file.finished_ids("square")) == 5
        is_true(path)


WRITES = st.lists(
    st.tuples(st.sampled_from(["pgd10", "square"]), st.integers(0, 9), st.integers(0, 3), st.booleans()),
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(first=WRITES, second=WRITES)
def test_it_is_the_same_in_whatever_order_and_groups_the_rows_came(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("order")

    def rows(writes):
        return [
            OutcomeRow(attack, key, Outcome(outcome), 1, 1, 1, *((b"w", b"i", 3) if broken else ()))
            for attack, key, outcome, broken in writes
        ]

    totals = []
    for name, groups in (("a", [first, second]), ("b", [[*first, *second]])):
        with EvidenceFile.create(folder / name, header()) as file:
            file.add_examples([ExampleRow(k, k, 1, 1) for k in range(10)])
            for group in groups:
                file.add_outcomes(
                    rows(group), [MetricsRow(key, 0.5, 1, float("nan"), 2) for _, key, _, _ in group]
                )
            file.update(finished=True)
        totals.append(is_true(folder / name))
    assert totals[0] == totals[1]
    with EvidenceFile.create(folder / "a", header()) as file:
        file.clear()
    is_true(folder / "a")


def test_a_file_of_before_gets_one_when_it_is_gone_on_with(tmp_path):
    path = tmp_path / "a.evidence"
    EvidenceFile.create(path, header()).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM header WHERE key = 'digest'")
        db.execute("PRAGMA user_version = 0")
        db.execute("DROP TABLE answers")
    EvidenceFile.open(path).close()
    EvidenceFile.create(path, header()).close()
    is_true(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM header WHERE key = 'digest'").fetchone() == (1,)
