"""A sample where the usual does not hold: other norms, few classes, answers and breaks that are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robaudit import check
from robaudit.audit import Recompute, audit, verify
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.recorder import Recorder
from robaudit.evidence import (
    SCOUT,
    SCOUT_EVERY,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    Outcome,
)
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.verdict import accuracy
from robaudit.verdict.sample_claims import sample_contradictions, waiting
from robaudit.verdict.sampling import CHOSEN, candidates, drawn, narrow
from tests.audit.within.changes import edited, through
from tests.audit.within.plans import PLAN
from tests.audit.within.test_sample import turned

#: As `robaudit check --norm L1`, where AutoAttack has other numbers of targets and restarts.
L1 = AuditPlan.from_flags(
    ThreatModel("L1", 1.2), within=6, limit=300, seed=1, apgd_steps=8, fab_steps=1, square_queries=20
)


def test_a_beginning_is_cut_where_the_norm_has_a_budget_of_its_own():
    assert L1.budget_of("apgd-t").targets == 5
    assert beginning_of(SCOUT_TARGETED, L1).of("apgd-t", L1).runs(10) == 1
    assert beginning_of(SCOUT_WIDE, L1).of("apgd-t", L1).runs(10) == 3
    assert beginning_of(SCOUT_EVERY, L1).of("apgd-t", L1).runs(10) == 5


def test_candidates_in_l1_do_not_depend_on_the_order(models, images, split, tmp_path):
    kept = []
    for name, given in (("one", images), ("turned", turned(images))):
        evidence = audit(models["honest"], given, L1, path=tmp_path / name)
        kept.append(set(evidence.ids[candidates(evidence)].tolist()))
        first = evidence.attacks[SCOUT_TARGETED]
        assert set(first.steps[first.outcome == Outcome.ROBUST].tolist()) == {11}, "one class, three radii"
    assert len(kept[0] ^ kept[1]) <= 2, "but for rounding"
    assert not verify(tmp_path / "one", models["honest"], images=split, again=Recompute(40, 3)).failures
    more = audit(models["honest"], images, replace(L1, within=0.03), path=tmp_path / "one")
    assert narrow(more)


@pytest.fixture(scope="module")
def odd_network():
    """A linear network that answers no number where one pixel is bright, and images with their labels."""
    seeds = torch.Generator().manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self, classes, nan):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(16, classes, generator=seeds))
            self.nan = nan

        def forward(self, x):
            logits = (x.flatten(1) - 0.5) @ self.weight
            return torch.where(x.flatten(1)[:, :1] > self.nan, logits * float("nan"), logits)

    def made(classes=10, nan=2.0):
        network, x = Network(classes, nan), torch.rand(300, 1, 4, 4, generator=seeds)
        return network, x, network(x).nan_to_num().argmax(1)

    return made


def test_answers_that_are_no_numbers_contradict_nothing(odd_network, tmp_path):
    settings = {"eps": 0.05, "apgd_steps": 40, "fab_steps": 2, "square_queries": 600, "within": 3}
    found = check(*odd_network(nan=0.9), force=True, evidence=tmp_path / "odd", **settings)
    evidence = found.evidence
    nearest = evidence.attacks[SCOUT_QUERIES]
    assert (evidence.unanswered("square") & (nearest.steps > 0)).any()
    assert sample_contradictions(evidence) == []


def test_beginnings_that_met_no_number_are_made_again(models, split, tmp_path):
    """They left what they met it on, and so does whoever makes them again."""
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(64, generator=draw).sign() * (torch.rand(64, generator=draw) < 0.4)
    most = float((split.float().flatten(1) @ weight).amax()) - 1

    def change(network, x):
        return network(x) + torch.where((x.flatten(1) @ weight)[:, None] > most, float("nan"), 0.0)

    network, plan = through(models["honest"], change), replace(PLAN, limit=None)
    evidence = audit(network, split, plan, path=tmp_path / "nan", force=True)
    here = waiting(evidence)
    assert any((here & evidence.unanswered(name)).any() for name in evidence.attacks if "scout" in name)
    assert not verify(tmp_path / "nan", network, images=split, again=Recompute(1000, 1)).failures


@pytest.mark.parametrize("few", [{"classes": 2}, {"targets": 1}, {"targets": 3, "apgd_steps": 8}])
def test_what_goes_no_further_than_what_was_made_is_not_made(odd_network, tmp_path, few):
    """One class is the likeliest one; and three with all of eight steps are every class that there is."""
    settings = {"eps": 0.05, "apgd_steps": 40, "fab_steps": 2, "square_queries": 120, "within": 3}
    asked = odd_network(few.pop("classes", 10))
    found = check(*asked, evidence=tmp_path / "few", **(settings | few))
    state = found.evidence.header.early_stopping
    made = state[CHOSEN[SCOUT_WIDE]] + state[CHOSEN[SCOUT_EVERY]]
    assert made == 0 if few.get("targets") != 3 else made <= 1


@pytest.mark.parametrize("steps", [50, 105])
def test_what_a_draw_breaks_stays_a_candidate(found, steps):
    """Rounding may break within Square's first queries what these, made before, did not."""
    evidence = found["honest"]
    rows = np.flatnonzero(drawn(evidence, candidates(evidence)) & evidence.survives("autoattack"))[:10]
    evidence = edited(evidence, SCOUT, rows, Outcome.ROBUST, 100)
    header = replace(evidence.header, early_stopping=evidence.header.early_stopping | {CHOSEN[SCOUT]: 1})
    evidence = replace(evidence, header=header)
    before = candidates(evidence)
    broken = edited(evidence, "square", rows, Outcome.BROKEN, steps)
    assert (candidates(broken) == before).all()
    assert accuracy(broken, "autoattack").low < accuracy(evidence, "autoattack").low


def test_a_short_attack_whose_break_does_not_come_again_is_no_outcome_of_the_whole(
    models, images, tmp_path, monkeypatch
):
    code, failed = Recorder._code, []

    def once(self, waiting):
        late = [item for item in waiting if item.place >= 200 and item.unbroken != item.row.attack][
            : not failed
        ]
        failed.extend(late)
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "_judge", lambda self, x, y: ([False] * len(x), [0] * len(x)))
            lost = code(self, late)
        return code(self, [item for item in waiting if item not in late]) + lost

    monkeypatch.setattr(Recorder, "_code", once)
    evidence = audit(models["honest"], images, PLAN, path=tmp_path / "unsure")
    assert failed
    place, name = failed[0].place, failed[0].unbroken
    assert evidence.unanswered(name)[place]
    assert waiting(evidence)[place]
    assert not sample_contradictions(evidence)
    assert narrow(audit(models["honest"], images, replace(PLAN, within=0.04), path=tmp_path / "unsure"))
