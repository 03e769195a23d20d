"""Several processes give what one gives, and a dead rank's work is kept."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from robaudit.audit import audit, verify
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.shipped import ADVERSARIAL

PLAN = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=Budget(10, 10, 10, 3, 200, 1))
_CODE = """
import os, signal, sys
from pathlib import Path
from robaudit.audit import audit
from robaudit.evidence import EvidenceFile
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
plan = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=Budget(10, 10, 10, 3, 200, 1))
if len(sys.argv) > 3:  # rank 1 dies with rows that nobody else has
    add = EvidenceFile.add_outcomes
    def dying(self, rows, metrics=()):
        rows = list(rows)
        add(self, rows, metrics)
        if self.path.suffix == ".rank1" and rows:
            os.kill(os.getpid(), signal.SIGKILL)
    EvidenceFile.add_outcomes = dying
evidence = audit(load_classifier(sys.argv[1]), load_images("digits", limit=50, seed=1), plan, path=Path(sys.argv[2]))
assert len(evidence) == 50
"""


def start(world, folder, *dying):
    script = folder / "run.py"
    script.write_text(_CODE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    command += [str(script), str(ADVERSARIAL), str(folder / "evidence"), *dying]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


def outcomes(evidence):
    """Of every attack on every example, and what the probes found, but for rounding."""
    probes = {name: round(value, 3) for name, value in evidence.header.probes.items()}
    return {name: record.outcome.tolist() for name, record in evidence.attacks.items()} | {"probes": probes}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    images = load_images("digits", limit=50, seed=1)
    return outcomes(
        audit(load_classifier(str(ADVERSARIAL)), images, PLAN, path=tmp_path_factory.mktemp("one") / "a")
    )


def read(folder):
    """What is in the evidence file, after an audit that has nothing left to do."""
    images, model = load_images("digits", limit=50, seed=1), load_classifier(str(ADVERSARIAL))
    found = outcomes(audit(model, images, PLAN, path=folder / "evidence"))
    assert not verify(folder / "evidence", model).failures
    assert [path.name for path in folder.glob("*rank*")] == []
    return found


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.heavy)])
def test_several_ranks_give_what_one_gives(world, tmp_path, alone):
    child = start(world, tmp_path)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    assert read(tmp_path) == alone


def finished_rows(path):
    """How many outcomes a file holds."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM outcomes").fetchone()[0]


def test_the_work_of_a_killed_rank_is_taken_over_by_one_process(tmp_path, alone):
    child = start(2, tmp_path, "dying")
    child.communicate(timeout=300)
    assert child.returncode
    assert finished_rows(tmp_path / "evidence.rank1")
    assert read(tmp_path) == alone
