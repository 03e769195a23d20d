"""AutoAttack's number to a stated precision: it holds, costs less, and survives a kill."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robaudit.attacks import Retired
from robaudit.audit import Recompute, Silent, audit, short_attacks, verify
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.prices import Prices
from robaudit.evidence import (
    NEAREST,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTS,
    Outcome,
    begun,
    run_length,
)
from robaudit.inputs import load_images
from robaudit.verdict import accuracy
from robaudit.verdict.sampling import CHOSEN, candidates, drawn
from tests.audit.within.plans import BUDGET, PATHS, PLAN
from tests.evidence.edits import editing


@pytest.mark.parametrize("name", PATHS)
def test_the_full_audits_number_lies_inside_for_fewer_passes(found, full, name):
    sampled, truth = accuracy(found[name], "autoattack"), full[name].survives("autoattack").mean()
    assert sampled.low - 1e-9 <= truth <= sampled.high + 1e-9
    assert sampled.high - sampled.low <= 2 * PLAN.within + 1e-9
    assert sampled.n == len(found[name]) == 300
    assert sum(found[name].passes) < sum(full[name].passes)
    # What was drawn had the outcome that the full audit gives it, and so had what the short attacks broke.
    mine, theirs = (evidence.survives("autoattack") for evidence in (found[name], full[name]))
    assert not (mine & ~theirs).any()
    assert not (found[name].broken("autoattack") & theirs).any()


def test_candidates_are_drawn_in_the_audits_order(found):
    evidence = found["honest"]
    among = candidates(evidence)
    here = drawn(evidence, among)
    assert 0 < here.sum() < among.sum()
    assert not (among & ~here)[: np.flatnonzero(here).max()].any()
    first = evidence.attacks[SCOUT_TARGETED]
    assert set(first.steps[first.outcome == Outcome.ROBUST].tolist()) == {begun(SCOUT_TARGETED, PLAN)[1]}


@pytest.mark.parametrize("name", PATHS)
def test_beginnings_that_are_worth_it_are_made(folder, models, images, split, name, monkeypatch):
    """Each of them, as if it saved more than all passes there are."""
    monkeypatch.setattr(Prices, "saved", lambda self, candidates, before, after: 1e12)
    plan = replace(PLAN, budget=replace(BUDGET, apgd_steps=35, square_queries=400), within=0.03)
    evidence = audit(models[name], images, plan, path=folder / f"{name}.all")
    state, among = evidence.header.early_stopping, candidates(evidence)
    assert {state[key] for key in CHOSEN.values()} == {1}
    for scout in (SCOUT_TARGETED, SCOUT_WIDE, *NEAREST):
        assert (evidence.attacks[scout].outcome[among] == Outcome.ROBUST).all()
    assert not (evidence.broken_early(SCOUT) & among).any()
    made = verify(folder / f"{name}.all", models[name], images=split, again=Recompute(1_000_000, 1))
    assert not made.failures
    with editing(folder / f"{name}.all") as db:
        db.execute(f"DELETE FROM outcomes WHERE attack = '{SCOUT}'")
    found = verify(folder / f"{name}.all", models[name], images=split, again=Recompute(1, 1)).failures
    assert any("is a candidate that was not attacked by: Square" in text for text in found)


def turned(images):
    """The same examples, the last one first."""
    return replace(images, **{name: getattr(images, name).flip(0) for name in ("pixels", "labels", "ids")})


def test_what_a_beginning_is_tried_on_does_not_depend_on_the_order(models, images, folder):
    """Else the sample would be of candidates whose outcomes had led to what is chosen."""
    tried = []
    plan = replace(PLAN, budget=replace(BUDGET, apgd_steps=30))
    for order in ("as it is", "turned"):
        given = images if order == "as it is" else turned(images)
        evidence = audit(models["honest"], given, plan, path=folder / f"tried {order}")
        among = candidates(evidence)
        here = [evidence.attacks[name].outcome != Outcome.NOT_RUN for name in (SCOUT, SCOUTS[SCOUT])]
        tried.append(set(evidence.ids[among & (here[0] | here[1])].tolist()))
    assert len(tried[0] & tried[1]) >= min(short_attacks.TRIED, among.sum())


def test_steps_of_a_beginning_are_counted_as_the_whole_attack_counts_them(full):
    """At the second class an example breaks after all steps at the first."""
    whole, plan = full["honest"], PLAN
    early = whole.broken_early(SCOUT_WIDE) & ~whole.broken_early(SCOUT_TARGETED)
    steps = whole.attacks["apgd-t"].steps[early]
    length, (targets, most) = run_length(plan), begun(SCOUT_WIDE, plan)
    assert ((steps - 1) // length < targets).all()
    assert ((steps - 1) % length < most).all()
    beginning = beginning_of(SCOUT_WIDE, plan)
    retired = Retired(
        torch.arange(4), torch.tensor([1, 1, 0, 1]), torch.tensor([1, most + 2, 3 * most, 5 * most]),
        *torch.zeros(2, 4, dtype=torch.int64), torch.zeros(4, 3, dtype=torch.bool), torch.zeros(4), torch.zeros(0),
        None,
    )  # fmt: skip
    numbered = beginning.numbered(retired, plan).steps.tolist()
    assert numbered == [1, length + 2, 3 * most, 2 * length + most]


class Killed(Exception):  # noqa: N818
    pass


class Kill(Silent):
    """Ends the audit when one attack has advanced so often."""

    def __init__(self, stage, times):
        self.stage, self.left = stage, times

    def advance(self, stage, examples, broken, passes):
        self.left -= stage == self.stage
        if not self.left:
            raise Killed


@pytest.mark.parametrize("stage, times", [("apgd-t", 3), ("fab-t", 3)])
def test_a_killed_audit_ends_as_if_nothing_had_been(folder, found, models, images, stage, times):
    path = folder / f"killed-{stage}-{times}"
    with pytest.raises(Killed):
        audit(models["honest"], images, PLAN, path=path, progress=Kill(stage, times))
    again = audit(models["honest"], images, PLAN, path=path)
    expected = found["honest"]
    # The passes until the verdict depend on how many examples were under way together, which a measurement chooses.
    costs = {"forwards", "backwards"}
    one, other = (
        {name: value for name, value in evidence.header.early_stopping.items() if name not in costs}
        for evidence in (again, expected)
    )
    assert one == other
    for name in (SCOUT_TARGETED, SCOUT_WIDE, SCOUT_DEEP):
        assert (name in again.attacks) == (name in expected.attacks)
    one, other = accuracy(again, "autoattack"), accuracy(expected, "autoattack")
    assert (one.low, one.high, one.n) == (other.low, other.high, other.n)


class Begun(Silent):
    """Counts the attacks that begin, and ends the audit before one of them."""

    def __init__(self, last=0):
        self.count, self.last = 0, last

    def begin(self, stage, total):
        self.count += 1
        if self.count == self.last:
            raise Killed


def test_what_another_process_has_scouted_is_drawn_from(folder, models):
    """More examples than an audit that may stop early looks at, so that this process has not met them all."""
    plan = replace(PLAN, within=0.006, limit=500, budget=replace(BUDGET, apgd_steps=8, square_queries=101))
    images, whole = load_images("digits", seed=1, limit=500), Begun()
    expected = audit(models["honest"], images, plan, path=folder / "whole", progress=whole)
    with pytest.raises(Killed):
        audit(models["honest"], images, plan, path=folder / "part", progress=Begun(whole.count - 3))
    again = audit(models["honest"], images, plan, path=folder / "part")
    one, other = accuracy(again, "autoattack"), accuracy(expected, "autoattack")
    assert (one.low, one.high, one.n) == (other.low, other.high, other.n)
