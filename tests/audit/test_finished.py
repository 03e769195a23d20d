"""Evidence that calls itself finished has done what its plan asks for."""

import json
import shutil
from dataclasses import replace

import pytest

from robaudit.audit import audit, verify
from robaudit.evidence import EvidenceFile
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import accuracy, is_complete, judge
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL

BUDGET = Budget(apgd_steps=4, fab_steps=2, square_queries=20, targets=2)
PLANS = {
    "all": AuditPlan(ThreatModel("Linf", 0.1), budget=BUDGET, examples="all"),
    "cascade": AuditPlan.from_flags(
        ThreatModel("Linf", 0.1),
        attacks="autoattack",
        apgd_steps=4,
        fab_steps=2,
        square_queries=20,
        targets=2,
    ),
}


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(str(ADVERSARIAL))


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=60, seed=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, classifier, images):
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: (folder / name, audit(classifier, images, plan, path=folder / name))
        for name, plan in PLANS.items()
    }


def read(path):
    with EvidenceFile.open(path) as file:
        return file.read()


@pytest.mark.parametrize("name", PLANS)
def test_an_audit_of_all_examples_that_is_cut_short_is_not_finished(
    name, whole, classifier, images, tmp_path
):
    """Where it looks best, for an interval that holds for a number of examples that is fixed beforehand."""
    made, before = whole[name]
    path = tmp_path / "cut"
    shutil.copy(made, path)
    assert is_complete(before, judge(before))
    with editing(path) as db:
        db.execute(
            "DELETE FROM outcomes WHERE attack != 'pgd10' AND id IN (SELECT id FROM examples WHERE position >= 40)"
        )
        db.execute("DELETE FROM images WHERE id NOT IN (SELECT id FROM outcomes WHERE outcome = 1)")
        db.execute(
            "DELETE FROM answers WHERE NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.outcome = 1 "
            "AND o.attack = answers.attack AND o.id = answers.id)"
        )
    assert not is_complete(read(path), judge(read(path)))
    found = verify(path, classifier).failures
    assert any("to be run on all 60 examples" in text for text in found), found
    audit(classifier, images, PLANS[name], path=path)
    assert accuracy(read(path), "autoattack") == accuracy(before, "autoattack")


def test_a_sample_is_not_called_all(classifier, images, tmp_path):
    plan = replace(PLANS["all"], examples="auto", within=0.05)
    path = tmp_path / "sample"
    audit(classifier, images, plan, path=path)
    assert verify(path, classifier).failures == ()
    with editing(path) as db:
        header = json.loads(db.execute("SELECT value FROM header WHERE key = 'plan'").fetchone()[0])
        header |= {"within": None, "examples": "all"}
        db.execute("UPDATE header SET value = ? WHERE key = 'plan'", (json.dumps(header),))
    assert accuracy(read(path), "autoattack").method == "counted"
    assert any("the plan asks for no sample" in text for text in verify(path, classifier).failures)
