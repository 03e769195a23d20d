"""Finished evidence where AutoAttack's number is wanted after all, or more precisely: it is gone on from."""

import shutil
from dataclasses import replace

import pytest

from robaudit.audit import audit, verify
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome
from robaudit.verdict import accuracy
from tests.audit.within.plans import PLAN

VERDICT, WIDE, NARROW = (replace(PLAN, within=within) for within in (None, 0.08, 0.02))


@pytest.fixture(scope="module")
def model(models):
    return models["honest"]


@pytest.fixture(scope="module")
def truth(full):
    return full["honest"].survives("autoattack").mean()


@pytest.fixture(scope="module")
def wide(model, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("precise") / "wide"
    audit(model, images, WIDE, path=path)
    return path


def test_a_narrower_interval_goes_on_from_what_is_there(wide, model, images, split, truth, tmp_path):
    path = shutil.copy(wide, tmp_path / "narrow")
    before = audit(model, images, WIDE, path=path)
    after = audit(model, images, NARROW, path=path)
    one, other = (accuracy(evidence, "autoattack") for evidence in (before, after))
    assert one.high - one.low > 2 * NARROW.within
    assert other.high - other.low <= 2 * NARROW.within + 1e-9
    assert other.low - 1e-9 <= truth <= other.high + 1e-9
    assert after.header.plan == NARROW
    for name, record in before.attacks.items():  # nothing is lost, and nothing is made anew
        done = record.outcome != Outcome.NOT_RUN
        assert (after.attacks[name].outcome[done] == record.outcome[done]).all()
        assert (after.attacks[name].forwards[done] == record.forwards[done]).all()
    assert not verify(path, model, images=split).failures


def test_an_audit_for_the_verdict_alone_goes_on_to_the_number(model, images, truth, tmp_path):
    path = tmp_path / "verdict"
    before = audit(model, images, VERDICT, path=path)
    after = audit(model, images, WIDE, path=path)
    found = accuracy(after, "autoattack")
    assert found.low - 1e-9 <= truth <= found.high + 1e-9
    assert found.high - found.low <= 2 * WIDE.within + 1e-9
    assert sum(after.passes) > sum(before.passes) > 0
    again = audit(model, images, WIDE, path=tmp_path / "at once")
    assert (again.survives("autoattack") == after.survives("autoattack")).all()


def test_what_is_less_precise_or_another_audit_is_refused(wide, model, images, tmp_path):
    path = shutil.copy(wide, tmp_path / "copy")
    data = path.read_bytes()
    for plan in (replace(WIDE, within=0.1), VERDICT, replace(NARROW, seed=2)):
        with pytest.raises(RobauditError, match="another plan"):
            audit(model, images, plan, path=path)
    assert path.read_bytes() == data
