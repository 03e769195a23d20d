"""An audit that may stop early: what it leaves out, that this changes no outcome, and that it can be interrupted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robaudit.audit import Silent, audit, early_stopping
from robaudit.audit.early_stopping import HEAD_EXAMPLES, SCOUTED_EXAMPLES, growing
from robaudit.evidence import FIRST_QUERIES, SCOUT, EvidenceFile, Outcome
from robaudit.inputs import Classifier, load_classifier, load_images
from robaudit.inputs.normalisation import parse_normalisation
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.verdict import Claim, accuracy, judge
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL, DISTILLED

BUDGET = Budget(apgd_steps=8, fab_steps=4, square_queries=120, targets=2)
PLAN = AuditPlan(ThreatModel("Linf", 0.1), budget=BUDGET)
PATHS = {"honest": ADVERSARIAL, "masked": DISTILLED}


@pytest.fixture(scope="module")
def images():
    return load_images("digits", seed=1)


@pytest.fixture(scope="module")
def models():
    return {name: load_classifier(str(path)) for name, path in PATHS.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory, models, images):
    folder = tmp_path_factory.mktemp("course")
    return {name: audit(model, images, PLAN, path=folder / name) for name, model in models.items()}


def outcomes(evidence):
    records = evidence.attacks.items()
    return {name: (record.outcome.tolist(), record.steps.tolist()) for name, record in records}


@pytest.mark.parametrize("end", [1, 63, 64, 65, 500, 10_000])
def test_stretches_are_the_same_whatever_the_end(end):
    places = [part.tolist() for part in growing(0, end)]
    assert [place for part in places for place in part] == list(range(end))
    whole = [part.tolist() for part in growing(0, 20_000)]
    assert places[:-1] == whole[: len(places) - 1]
    later = [place for part in growing(40, end) for place in part.tolist()]
    assert later == list(range(40, end))


def test_a_masked_model_is_exposed_by_the_scout_and_nothing_else_is_run(found):
    evidence = found["masked"]
    assert judge(evidence).outcome == "overestimated"
    decided = evidence.header.early_stopping
    assert decided["examples"] == len(evidence) == 64
    # PGD-10 forwards and backwards, then at most Square's first queries and APGD on what PGD-10 broke.
    assert decided["forwards"] + decided["backwards"] < 64 * (1 + 22 + FIRST_QUERIES + 22)
    beyond = np.arange(len(evidence)) >= HEAD_EXAMPLES
    assert (evidence.attacks["fab-t"].outcome[beyond] == Outcome.NOT_RUN).all()
    assert (
        evidence.attacks["fab-t"].outcome[:HEAD_EXAMPLES][evidence.correct[:HEAD_EXAMPLES]] != Outcome.NOT_RUN
    ).all()


def test_an_honest_model_gets_the_strong_attacks_only_where_they_matter(found):
    evidence = found["honest"]
    assert judge(evidence).outcome == "not-overestimated"
    assert len(evidence) == SCOUTED_EXAMPLES
    run = evidence.attacks["apgd-t"].outcome != Outcome.NOT_RUN
    lost = evidence.broken("pgd10") & (np.arange(len(evidence)) >= HEAD_EXAMPLES)
    assert lost.any()
    assert not (run & lost & evidence.broken("apgd-ce")).any()
    known = evidence.known("autoattack").sum()
    assert HEAD_EXAMPLES < known < len(evidence)


@pytest.mark.parametrize("name", PATHS)
def test_every_outcome_is_that_of_the_full_audit(tmp_path, models, images, found, name):
    few = replace(images, pixels=images.pixels[:100], labels=images.labels[:100], ids=images.ids[:100])
    whole = audit(models[name], few, replace(PLAN, examples="all"), path=tmp_path / "a")
    n = min(len(found[name]), 100)
    for attack, record in found[name].attacks.items():
        outcome = record.outcome[:n]
        if attack == SCOUT:
            assert not whole.broken_early(SCOUT)[:n][outcome == Outcome.ROBUST].any()
            continue
        run = outcome != Outcome.NOT_RUN
        differ = outcome[run] != whole.attacks[attack].outcome[:n][run]
        assert differ.sum() <= 1, attack  # rounding in batches of another size may tip one over


class _InterruptedError(Exception):
    pass


class _Until(Silent):
    """Stops the audit at its n-th stage's beginning or end."""

    def __init__(self, n):
        self.left = n

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise _InterruptedError

    def begin(self, stage, total):
        self._count()

    def end(self, stage):
        self._count()


@pytest.mark.parametrize("name", PATHS)
def test_interrupted_at_every_stage_it_ends_the_same(tmp_path, models, images, found, name):
    path = tmp_path / "a"
    for _ in range(100):
        try:
            evidence = audit(models[name], images, PLAN, path=path, progress=_Until(1))
        except _InterruptedError:
            continue
        break
    assert outcomes(evidence) == outcomes(found[name])
    # How many queries are tried in vain depends on how many examples are under way together.
    mine, theirs = dict(evidence.header.early_stopping), dict(found[name].header.early_stopping)
    passes, expected = mine.pop("forwards", 0), theirs.pop("forwards", 0)
    assert mine == theirs and expected / 2 < passes + 1 <= 2 * (expected + 1)


def test_a_claim_that_comes_later_is_settled_too(tmp_path, models, images):
    path = tmp_path / "a"
    first = audit(models["masked"], images, PLAN, path=path)
    claim = Claim(0.5, "fab-t")
    second = audit(models["masked"], images, PLAN, path=path, claim=claim)
    assert len(second) > len(first) or accuracy(second, "fab-t").n > accuracy(first, "fab-t").n
    assert judge(second, claim).claim.outcome == "refuted"


def test_a_file_of_an_earlier_version_is_gone_on_with(tmp_path, models, images, found):
    path = tmp_path / "a"
    with pytest.raises(_InterruptedError):
        audit(models["masked"], images, PLAN, path=path, progress=_Until(3))
    with editing(path) as db:
        db.execute("DELETE FROM header WHERE key = 'early_stopping'")
        plan = db.execute("SELECT value FROM header WHERE key = 'plan'").fetchone()[0]
        db.execute("UPDATE header SET value = ? WHERE key = 'plan'", (plan.replace('"eot": 1, ', ""),))
    assert outcomes(audit(models["masked"], images, PLAN, path=path)) == outcomes(found["masked"])


def test_a_file_that_names_the_state_otherwise_is_resumed_where_it_was(tmp_path, models, images, found):
    path = tmp_path / "a"
    with pytest.raises(_InterruptedError):
        audit(models["honest"], images, PLAN, path=path, progress=_Until(12))
    state = EvidenceFile.open(path).header().early_stopping
    with editing(path) as db:
        db.execute("UPDATE header SET key = 'course' WHERE key = 'early_stopping'")
    assert state["looks"] and EvidenceFile.open(path).header().early_stopping == state
    evidence = audit(models["honest"], images, PLAN, path=path)
    assert evidence.header.early_stopping["decided"] == found["honest"].header.early_stopping["decided"]
    assert outcomes(evidence) == outcomes(found["honest"])


def test_an_undefended_model_is_decided_by_pgd_alone(tmp_path, models, images):
    wide = replace(PLAN, threat=ThreatModel("Linf", 0.5))
    evidence = audit(models["honest"], images, wide, path=tmp_path / "a")
    assert not evidence.survives("pgd10").any()
    assert judge(evidence).outcome == "not-overestimated"
    decided = evidence.header.early_stopping
    assert decided["forwards"] == decided["examples"] * 12


def test_the_last_gap_open_makes_square_run_on_what_pgd_broke(tmp_path, models, images, monkeypatch):
    """APGD breaks what Square does not, so only Square's own answers can close the gap to it."""
    few = images.subset(96, 0)
    monkeypatch.setattr(early_stopping, "SCOUTED_EXAMPLES", 64)
    evidence = audit(
        models["honest"], few, replace(PLAN, threat=ThreatModel("Linf", 0.15)), path=tmp_path / "a"
    )
    lost = evidence.broken("pgd10") & (evidence.attacks["square"].outcome == Outcome.NOT_RUN)
    assert evidence.header.early_stopping["everywhere"] == (
        not lost[: evidence.known("autoattack").sum()].any()
    )


class _Noisy(nn.Module):
    def __init__(self, inner, sigma):
        super().__init__()
        self.inner, self.sigma = inner, sigma

    def forward(self, x):
        return self.inner(x + self.sigma * torch.randn_like(x))


def test_a_randomised_model_is_audited_by_its_mean_and_verifies(tmp_path, models, images):
    from robaudit.audit import verify

    inner = models["honest"]
    model = Classifier(_Noisy(inner.network, 0.1), parse_normalisation("none", 1), inner.info)
    plan = replace(
        PLAN,
        threat=ThreatModel("Linf", 0.3),
        eot=3,
        budget=Budget(10, 4, 3, 1, 20),
        examples="all",
        attacks=PLAN.attacks[:3],
    )
    few = images.subset(8, 0)
    evidence = audit(model, few, plan, path=tmp_path / "a")
    codes = {item.code for item in judge(evidence).causes}
    assert "randomised-and-averaged" in codes
    assert "randomised-output" not in codes
    assert (evidence.attacks["pgd10"].forwards == 3 * 11).all()
    found = verify(tmp_path / "a", model)
    assert found.witnesses > 0
    assert found.failures == ()
    with pytest.raises(_InterruptedError):
        audit(model, few, plan, path=tmp_path / "b", progress=_Until(5))
    assert outcomes(audit(model, few, plan, path=tmp_path / "b")) == outcomes(evidence)


def test_a_stateful_model_is_not_averaged(tmp_path, models, images):
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return models["honest"].network(x) * (1 + self.calls % 3) + torch.randn(len(x), 10)

    model = Classifier(Counting(), parse_normalisation("none", 1), models["honest"].info)
    plan = replace(PLAN, eot=4, attacks=("pgd10",))
    evidence = audit(model, images.subset(10, 0), plan, path=tmp_path / "a", force=True)
    assert judge(evidence).outcome == "inconclusive"
    assert "stateful-output" in {item.code for item in judge(evidence).causes}
