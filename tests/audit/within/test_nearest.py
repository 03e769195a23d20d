"""The short attacks that only the examples nearest to a break get: who that is says nothing of the order."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from robaudit.attacks import Examples, forward
from robaudit.attacks.objectives import margin
from robaudit.audit import Recompute, audit, short_attacks, verify
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.nearness import Nearness
from robaudit.audit.prices import Prices
from robaudit.engine import Engine
from robaudit.evidence import (
    LEAST_NEAR,
    NEAREST,
    QUERIES,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTED,
    SCOUTS,
    EvidenceFile,
    Outcome,
    length_of,
)
from robaudit.plan import ThreatModel
from robaudit.verdict import accuracy
from robaudit.verdict.sample_claims import waiting
from robaudit.verdict.sampling import CHOSEN, candidates, drawn
from tests.audit.within.plans import BUDGET, PATHS, PLAN
from tests.audit.within.test_sample import Kill, Killed, turned
from tests.evidence.edits import editing

#: Room for 30 steps at every class, and for queries after the first hundred.
LONGER = replace(PLAN, budget=replace(BUDGET, apgd_steps=40, square_queries=300), within=0.03)


@pytest.fixture(scope="module")
def eager():
    """More is found worth it than so few examples deserve."""
    runs, run, part = [], short_attacks.ShortAttacks.run, short_attacks.ShortAttacks._worth_a_part

    def kept(self):
        runs.append(self)
        run(self)

    def once(self, left, whole, tried, found):
        return part(self, left, whole, tried, found if tried.any() else 50)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_attacks.ShortAttacks, "run", kept)
        patch.setattr(short_attacks.ShortAttacks, "_worth_a_part", once)
        patch.setitem(QUERIES, SCOUT_MORE, 150)
        patch.setattr(Prices, "worth", lambda self, candidates: 1e5)
        for scout in NEAREST:
            patch.setitem(LEAST_NEAR, scout, 16)
        patch.setattr(short_attacks, "STILL_EXPECTED", 0.3)
        yield runs


@pytest.fixture(scope="module")
def nearest(eager, models, images, folder):
    return {name: audit(models[name], images, LONGER, path=folder / f"near-{name}") for name in PATHS}


def examples_of(model, images):
    x = images.float()
    return Examples(x, images.labels, images.ids, forward(model, x))


def margins_of(model, images, plan, scout):
    """(n,) the largest over the beginning's steps, walked one by one."""
    attack, examples = beginning_of(scout, plan).of(SCOUTS[scout], plan), examples_of(model, images)
    largest = torch.full((len(examples),), float("-inf"))
    for run in range(attack.runs(10)):
        state = attack.start(examples, torch.full((len(examples),), run))
        while not bool(state.finished.all()):
            state = attack.step(model, state)
            largest = torch.maximum(largest, margin(forward(model, state.candidate), examples.y))
    return largest


@pytest.mark.parametrize("scout", [SCOUT_TARGETED, SCOUT_WIDE, SCOUT_MORE])
def test_the_engine_says_how_near_each_example_came(models, images, scout):
    model, few = models["honest"], images.subset(60, 0)
    walked, met, robust = margins_of(model, few, LONGER, scout), torch.zeros(60), []
    engine = Engine(model, model, LONGER.threat, 16, torch.device("cpu"), workers=2)

    def retire(retired):
        met[retired.rows] = retired.closest
        robust.extend(retired.rows[retired.outcome == int(Outcome.ROBUST)].tolist())

    engine.run(beginning_of(scout, LONGER).of(SCOUTS[scout], LONGER), examples_of(model, few), retire)
    assert len(robust) > 30
    assert torch.allclose(met[robust], walked[robust], atol=1e-4)


def sides(evidence, model, images):
    """The margins of the candidates that a tier was made on, and of those that it passed over."""
    margins = torch.maximum(
        *(margins_of(model, images, LONGER, scout) for scout in (SCOUT_TARGETED, SCOUT_WIDE))
    ).numpy()
    record = evidence.attacks[SCOUT_DEEP]
    made = (record.outcome == Outcome.ROBUST) & (record.steps > 0)
    passed_over = (record.outcome == Outcome.ROBUST) & (record.steps == 0)
    return margins[made], margins[passed_over]


@pytest.mark.parametrize("name", PATHS)
def test_the_nearest_get_more_steps(nearest, models, images, name):
    evidence = nearest[name]
    assert {evidence.header.early_stopping[CHOSEN[scout]] for scout in NEAREST} == {1}
    near, others = sides(evidence, models[name], images)
    assert len(near) > 3
    assert len(others) > 3
    assert np.quantile(others, 0.9) <= near.min() + 1e-3, "but for rounding"
    among = candidates(evidence)
    for scout in NEAREST:
        assert (evidence.attacks[scout].outcome[among] == Outcome.ROBUST).all()
        assert not (among & evidence.broken_early(scout) & (evidence.attacks[scout].steps > 0)).any()
    whole = evidence.attacks["square"].outcome != Outcome.NOT_RUN
    queried = evidence.attacks[SCOUT_QUERIES]
    assert whole[(queried.outcome == Outcome.ROBUST) & (queried.steps > 0)].all()


def test_who_is_near_does_not_depend_on_the_order(eager, nearest, models, images, folder):
    """What the verdict took came first in the order: it is among the nearest where its margin says so."""
    other = audit(models["honest"], turned(images), LONGER, path=folder / "near-turned")
    kept = []
    for evidence in (nearest["honest"], other):
        among, record = candidates(evidence), evidence.attacks[SCOUT_EVERY]
        kept.append((set(evidence.ids[among]), set(evidence.ids[among & (record.steps > 0)])))
    (one, near), (two, near_too) = kept
    assert len(one ^ two) <= 2, "but for rounding"
    assert len(near ^ near_too) <= 2


def test_equal_margins_are_ranked_apart_from_the_order(images):
    """Of a model whose answers are all alike each example is as near as any other."""
    found = []
    for given in (images, turned(images)):
        session = SimpleNamespace(images=given, plan=PLAN)
        near = Nearness(session).order(np.ones(300, dtype=bool))[:40]
        assert 80 < near.mean() < 220
        found.append(set(given.ids[near].tolist()))
    assert found[0] == found[1]


def test_what_was_attacked_before_is_ranked_by_the_same_margins(eager, models, images, folder):
    """These come first in the order; with fewer margins they would seem further from a break than the rest."""
    model, path = models["honest"], folder / "near-margins"
    evidence, attacks = audit(model, images, LONGER, path=path), eager[-1]
    nearness, among = attacks.scouting.nearness, candidates(evidence)
    made = {scout: evidence.attacks[scout].steps > 0 for scout in (SCOUT_DEEP, SCOUT_EVERY)}
    made[SCOUT_MORE] = nearness.met[SCOUT_MORE]  # not of those that got all queries at once
    walked = np.full(len(evidence), -np.inf)
    for scout in (SCOUT_TARGETED, SCOUT_WIDE, *made):
        margins = margins_of(model, images, LONGER, scout).numpy()
        walked = np.where(made.get(scout, among), np.maximum(walked, margins), walked)
    before = np.arange(len(evidence)) < evidence.header.early_stopping["examples"]
    here = among & np.any(list(made.values()), axis=0)
    for rows in (made[SCOUT_DEEP] & made[SCOUT_EVERY], made[SCOUT_MORE]):
        assert (here & rows & before).any()
        assert (here & rows & ~before).any()
    assert np.allclose(nearness.margins[here], walked[here], atol=1e-3)


@pytest.mark.parametrize("stage, times", [("apgd-t", 4), ("apgd-t", 8), ("square", 3)])
def test_a_run_killed_between_the_nearest_ends_the_same(eager, nearest, models, images, folder, stage, times):
    path = folder / f"near-killed-{stage}-{times}"
    with pytest.raises(Killed):
        audit(models["honest"], images, LONGER, path=path, progress=Kill(stage, times))
    again, whole = audit(models["honest"], images, LONGER, path=path), nearest["honest"]
    assert (candidates(again) ^ candidates(whole)).sum() <= 2
    one, other = accuracy(again, "autoattack"), accuracy(whole, "autoattack")
    assert abs(one.low - other.low) < 0.01
    assert abs(one.high - other.high) < 0.01
    with EvidenceFile.open(path) as file:
        assert file.header().finished


class Passes(Kill):
    """Adds up the passes that it is told of, and may end the audit."""

    def __init__(self, stage="", times=-1):
        super().__init__(stage, times)
        self.passes = 0

    def advance(self, stage, examples, broken, passes):
        self.passes += passes
        super().advance(stage, examples, broken, passes)


@pytest.mark.parametrize("threat", [LONGER.threat, ThreatModel("Linf", 0.2)])
def test_steps_that_were_made_for_a_margin_alone_are_counted(eager, models, images, tmp_path, threat):
    told = Passes()
    plan = replace(LONGER, threat=threat)
    evidence = audit(models["honest"], images, plan, path=tmp_path / "counted", progress=told)
    assert told.passes == sum(evidence.passes) - len(evidence), "beside the clean pass"


def test_what_a_run_before_meant_for_all_candidates_is_made_on_all(eager, models, images, split, tmp_path):
    """Earlier versions said so first, and then made all of APGD-T's steps at the likeliest class on every candidate."""
    path = tmp_path / "before"
    with pytest.raises(Killed):
        audit(models["honest"], images, LONGER, path=path, progress=Kill("square", 4))
    with EvidenceFile.create(path, EvidenceFile.open(path).header()) as file:
        state = file.header().early_stopping
        assert not state.get(SCOUTED)
        kept = {name: value for name, value in state.items() if name not in set(CHOSEN.values())}
        file.update(early_stopping=kept | {CHOSEN[SCOUT_WIDE]: 0, CHOSEN[SCOUT_DEEP]: 1})
    with editing(path) as db:
        db.execute(f"DELETE FROM outcomes WHERE attack LIKE '%-scout-%' AND attack != '{SCOUT_DEEP}'")
        db.execute(f"DELETE FROM outcomes WHERE attack = '{SCOUT_DEEP}' AND steps = 0")
    evidence = audit(models["honest"], images, LONGER, path=path)
    among, deep = candidates(evidence), evidence.attacks[SCOUT_DEEP]
    assert (deep.steps[among] > 0).all()
    assert not verify(path, models["honest"], images=split, again=Recompute(50, 3)).failures


@pytest.mark.parametrize("name", PATHS)
def test_evidence_with_tiers_is_verified(nearest, models, split, folder, name):
    assert not verify(folder / f"near-{name}", models[name], images=split, again=Recompute(1_000, 3)).failures


@pytest.fixture(scope="module")
def few_near(eager, models, images, folder):
    """One example of each tier was near, so that many candidates that were drawn break; its file and these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prices, "worth", lambda self, candidates: 0.0)
        patch.setattr(short_attacks, "EXPECTED", 0.3)
        patch.setattr(
            short_attacks.ShortAttacks, "_choose", lambda self, scout, *_: self._keep(**{CHOSEN[scout]: 0})
        )
        for scout in NEAREST:
            patch.setitem(LEAST_NEAR, scout, 1)
        plan = replace(LONGER, threat=ThreatModel("Linf", 0.2))
        evidence = audit(models["honest"], images, plan, path=folder / "few-near")
    among = candidates(evidence)
    late = (
        drawn(evidence, among)
        & evidence.broken_early(SCOUT_EVERY)
        & ~evidence.broken_early(SCOUT_DEEP)
        & among
    )
    assert late.sum() > 3, "some that were drawn would have broken"
    return evidence, evidence.ids[late].tolist()


@pytest.mark.parametrize(
    "taken, claimed, says",
    [
        ((), None, ""),
        ((SCOUT_EVERY, SCOUT_QUERIES), None, "is said to have been among the nearest"),
        ((SCOUT_EVERY, SCOUT_QUERIES), SCOUT_DEEP, "is said to have been among the nearest"),
        (NEAREST, None, "were broken by no short attack"),
    ],
)
def test_breaks_that_are_said_to_have_been_near_are_looked_at(
    few_near, models, split, folder, tmp_path, monkeypatch, taken, claimed, says
):
    """Candidates that did not survive are called broken among the nearest, so that the sample has none of them.

    With `claimed` a tier is said to have been made on all, so that none was passed over by it.
    """
    evidence, lost = few_near
    for scout in NEAREST:
        monkeypatch.setitem(LEAST_NEAR, scout, 1)
    path = shutil.copy(folder / "few-near", tmp_path / "forged")
    with editing(path) as db:
        for scout in taken:
            delete = f"DELETE FROM outcomes WHERE attack = '{scout}' AND id = ?"
            db.executemany(delete, [(key,) for key in lost])
        if claimed:
            steps = length_of(claimed, evidence.header.plan, 10)
            db.execute(f"UPDATE outcomes SET steps = {steps} WHERE attack = '{claimed}'")
    failures = verify(path, models["honest"], images=split, again=Recompute(1_000, 3)).failures
    assert any(says in text for text in failures) == bool(says), failures
    assert bool(failures) == bool(says)


def test_all_of_squares_queries_are_believed_where_square_says_so(nearest, models, split, folder, tmp_path):
    evidence, path = nearest["honest"], shutil.copy(folder / "near-honest", tmp_path / "forged")
    assert waiting(evidence).any()
    with editing(path) as db:
        steps = length_of(SCOUT_QUERIES, evidence.header.plan, 10)
        db.execute(f"UPDATE outcomes SET steps = {steps} WHERE attack = '{SCOUT_QUERIES}'")
    failures = verify(path, models["honest"], images=split).failures
    assert any(
        "is a candidate that was not attacked by: All of Square's queries" in text for text in failures
    ), failures
