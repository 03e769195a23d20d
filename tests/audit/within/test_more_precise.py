"""Finished evidence where AutoAttack's number is wanted after all, or more precisely: it is gone on from."""

import shutil
from dataclasses import replace

import pytest

from robaudit.audit import audit, default_evidence, verify
from robaudit.errors import RobauditError
from robaudit.evidence import MINIMUM, EvidenceFile, Outcome
from robaudit.verdict import Claim, accuracy, judge
from tests.audit.within.plans import BUDGET, PLAN

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


def test_less_is_there_already_and_another_audit_is_refused(wide, model, images, tmp_path):
    path = shutil.copy(wide, tmp_path / "copy")
    before = audit(model, images, WIDE, path=path)
    with EvidenceFile.open(path) as file:
        data = file.columns("outcomes", "*")
    for plan in (replace(WIDE, within=0.1), VERDICT):
        after = audit(model, images, plan, path=path)
        assert after.header.plan == WIDE
        assert accuracy(after, "autoattack") == accuracy(before, "autoattack")
    for plan in (replace(NARROW, seed=2), replace(NARROW, estimate="square")):
        with pytest.raises(RobauditError, match="another plan"):
            audit(model, images, plan, path=path)
    with EvidenceFile.open(path) as file:
        assert file.columns("outcomes", "*") == data
        assert file.header().plan == WIDE


def test_what_ended_with_a_minimum_is_no_more_precise_than_its_interval(model, split, tmp_path):
    path, short = tmp_path / "a", replace(BUDGET, apgd_steps=10, fab_steps=1)
    narrow = replace(PLAN, budget=short, limit=None, within=0.005)
    before = audit(model, split, narrow, path=path, claim=Claim(0.5, demanded=True))
    assert before.header.early_stopping[MINIMUM]
    found = accuracy(before, "autoattack")
    assert 0.01 < found.high - found.low < 0.2
    after = audit(model, split, replace(narrow, within=0.1), path=path)
    assert after.passes == before.passes
    assert (after.header.plan.within, after.header.finished) == (0.1, True)
    assert MINIMUM not in after.header.early_stopping
    assert verify(path, model, images=split).failures == ()


def test_what_was_interrupted_may_be_asked_for_less(wide, model, images, tmp_path):
    path = shutil.copy(wide, tmp_path / "copy")
    header = EvidenceFile.open(path).header()
    with EvidenceFile.create(path, replace(header, plan=NARROW)) as file:
        assert not file.header().finished, "a kill at this moment leaves an unfinished audit"
        assert file.header().plan == NARROW
    assert audit(model, images, WIDE, path=path).header.plan == WIDE


def test_all_versions_that_worked_on_it_are_named(wide, tmp_path):
    path = shutil.copy(wide, tmp_path / "copy")
    header = EvidenceFile.open(path).header()
    later = replace(header, plan=NARROW, versions=dict.fromkeys(header.versions, "9.9"))
    with EvidenceFile.create(path, later) as file:
        assert all(version.endswith(", then 9.9") for version in file.header().versions.values())


def test_a_claim_that_the_sample_leaves_open_is_no_contradiction(model, images, split, tmp_path):
    """The verdict is decided first, without it."""
    path = tmp_path / "claimed"
    found = audit(model, images, WIDE, path=path, claim=Claim(0.8))
    assert judge(found).claim.outcome == "inconclusive"
    assert not verify(path, model, images=split).failures


def test_a_place_that_nobody_chose_is_found_again(model, images):
    places = {default_evidence("m.pt", model.info, plan, images) for plan in (VERDICT, WIDE, NARROW)}
    assert len(places) == 1
    assert default_evidence("m.pt", model.info, replace(WIDE, seed=2), images) not in places
