"""AutoAttack's number to a stated precision: it holds, costs less, survives a kill, and says how it was got."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from robaudit.attacks import Retired
from robaudit.audit import Recompute, Silent, audit, verify, within
from robaudit.audit.beginnings import beginning_of
from robaudit.evidence import (
    SCOUT,
    SCOUT_DEEP,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    AttackRecord,
    EvidenceFile,
    Outcome,
    begun,
    run_length,
)
from robaudit.evidence.consistency import contradictions
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.reports import headline, side_by_side, summary
from robaudit.reports.commands import check_command
from robaudit.reports.formatting import table_caption
from robaudit.stats import sampled_share
from robaudit.verdict import Claim, accuracy, gap, judge, judge_claim
from robaudit.verdict.sampling import CHOSEN, candidates, drawn
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL, DISTILLED

BUDGET = Budget(apgd_steps=20, fab_steps=3, square_queries=110, targets=3)
PLAN = AuditPlan(ThreatModel("Linf", 0.1), budget=BUDGET, within=0.05, limit=300, seed=1)
PATHS = {"honest": ADVERSARIAL, "masked": DISTILLED}


@pytest.fixture(scope="module")
def images():
    return load_images("digits", seed=1, limit=300)


@pytest.fixture(scope="module")
def split():
    """The whole of what `images` is a part of."""
    return load_images("digits", seed=1)


@pytest.fixture(scope="module")
def models():
    return {name: load_classifier(str(path)) for name, path in PATHS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("within")


@pytest.fixture(scope="module")
def found(folder, models, images):
    return {name: audit(model, images, PLAN, path=folder / name) for name, model in models.items()}


@pytest.fixture(scope="module")
def full(folder, models, images):
    plan = replace(PLAN, within=None, examples="all")
    return {name: audit(model, images, plan, path=folder / f"{name}.full") for name, model in models.items()}


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


@pytest.fixture
def forged(found, folder, tmp_path):
    """A copy of the masked network's file to forge, and the places of its candidates and of those drawn."""
    evidence = found["masked"]
    among = candidates(evidence)
    return shutil.copy(folder / "masked", tmp_path / "forged"), evidence, among, drawn(evidence, among)


def problems(path, models, split):
    return verify(path, models["masked"], images=split, again=Recompute(1_000_000, 1)).failures


def call_candidate(db, key, *left):
    """The example is broken by nothing any more, and was left by these attacks and short ones."""
    db.execute(f"DELETE FROM outcomes WHERE id = {key} AND outcome = 1 AND attack != 'pgd10'")
    short = {name: math.prod(begun(name, PLAN)) for name in (SCOUT_TARGETED, SCOUT_WIDE, SCOUT_DEEP)}
    for attack, steps in (short | dict(left)).items():
        db.execute(f"INSERT OR REPLACE INTO outcomes VALUES ('{attack}', {key}, 0, {steps}, 9, 9, NULL)")
    db.execute("DELETE FROM images WHERE id NOT IN (SELECT id FROM outcomes WHERE outcome = 1)")
    db.execute(
        "DELETE FROM answers WHERE NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.outcome = 1 "
        "AND o.attack = answers.attack AND o.id = answers.id)"
    )


def test_what_pgd_broke_is_no_candidate_unless_the_short_attacks_left_it(forged, models, split):
    path, evidence, _, here = forged
    beyond = np.arange(len(evidence)) > np.flatnonzero(here).max()
    lost = evidence.ids[beyond & evidence.broken("pgd10") & evidence.broken("apgd-ce")]
    assert len(lost)
    with editing(path) as db:
        for key in lost.tolist():
            call_candidate(db, key)
    with EvidenceFile.open(path) as file:
        assert accuracy(file.read(), "autoattack").value > accuracy(evidence, "autoattack").value
    assert any(
        "is a candidate that APGD-CE was not tried on" in text for text in problems(path, models, split)
    )
    with editing(path) as db:
        for key in lost.tolist():
            call_candidate(db, key, ("apgd-ce", BUDGET.apgd_steps + 1))
    assert any("APGD-CE on example" in text for text in problems(path, models, split))


def test_a_claim_that_short_attacks_left_an_example_is_tried_again(forged, models, split):
    path, evidence, _, here = forged
    beyond = np.arange(len(evidence)) > np.flatnonzero(here).max()
    quick = evidence.ids[beyond & evidence.survives("pgd10") & evidence.broken_early(SCOUT_TARGETED)]
    assert len(quick)
    with editing(path) as db:
        for key in quick.tolist():
            call_candidate(db, key, (SCOUT_TARGETED, 1))
    assert any(
        "is a candidate that APGD-T was not tried on" in text for text in problems(path, models, split)
    )
    with editing(path) as db:
        for key in quick.tolist():
            call_candidate(db, key)
    found = problems(path, models, split)
    assert sum("is said to survive, but the attack breaks it" in text for text in found) >= len(quick)


@pytest.mark.parametrize("name", PATHS)
def test_beginnings_that_are_worth_it_are_made_on_all(folder, models, images, split, name, monkeypatch):
    """Each of them, as if everything that it is tried on were thought to break by it."""
    monkeypatch.setattr(within.Sampling, "_square_finds", lambda self, left: float(left.sum()))
    monkeypatch.setattr(within, "EXPECTED", 0.5)
    monkeypatch.setattr(within, "STILL_LEFT", 50.0)
    plan = replace(PLAN, budget=replace(BUDGET, apgd_steps=30, square_queries=300), within=0.03)
    evidence = audit(models[name], images, plan, path=folder / f"{name}.all")
    state, among = evidence.header.early_stopping, candidates(evidence)
    assert {state[key] for key in CHOSEN.values()} == {1}
    for scout in (SCOUT_TARGETED, SCOUT_WIDE, SCOUT_DEEP):
        assert (evidence.attacks[scout].outcome[among] == Outcome.ROBUST).all()
    assert not (evidence.broken_early(SCOUT) & among).any()
    made = verify(folder / f"{name}.all", models[name], images=split, again=Recompute(1_000_000, 1))
    assert not made.failures
    with editing(folder / f"{name}.all") as db:
        db.execute(f"DELETE FROM outcomes WHERE attack = '{SCOUT}'")
    found = verify(folder / f"{name}.all", models[name], images=split, again=Recompute(1, 1)).failures
    assert any("is a candidate that Square was not tried on" in text for text in found)


def turned(images):
    """The same examples, the last one first."""
    return replace(images, **{name: getattr(images, name).flip(0) for name in ("pixels", "labels", "ids")})


def test_what_square_is_tried_on_does_not_depend_on_the_order(models, images, folder):
    """Else the sample would be of candidates whose outcomes had led to what is chosen."""
    tried = []
    for order in ("as it is", "turned"):
        given = images if order == "as it is" else turned(images)
        evidence = audit(models["honest"], given, PLAN, path=folder / f"order {order}")
        among = candidates(evidence)
        scouted = evidence.attacks[SCOUT].outcome != Outcome.NOT_RUN
        square = evidence.attacks["square"].outcome != Outcome.NOT_RUN
        tried.append(set(evidence.ids[among & (scouted | square)].tolist()))
    assert len(tried[0] & tried[1]) >= min(within.TRIED, among.sum())


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
        *torch.zeros(2, 4, dtype=torch.int64), torch.zeros(4, 3, dtype=torch.bool), torch.zeros(0), None,
    )  # fmt: skip
    numbered = beginning.numbered(retired, plan).steps.tolist()
    assert numbered == [1, length + 2, 3 * most, 2 * length + most]


def test_drawn_candidates_that_did_not_survive_stay_candidates(forged, models, split):
    path, evidence, _, here = forged
    lost = evidence.ids[here & ~evidence.survives("autoattack")]
    assert len(lost)
    with editing(path) as db:
        for key in lost.tolist():
            db.execute(f"DELETE FROM outcomes WHERE id = {key} AND attack LIKE '%-scout%'")
            db.execute(
                f"UPDATE outcomes SET steps = 5 WHERE id = {key} AND outcome = 1 AND attack != 'pgd10'"
            )
    found = problems(path, models, split)
    assert any("is said to be broken, but the attack does not break it" in text for text in found), found


@pytest.mark.parametrize("name", PATHS)
def test_its_file_hangs_together_and_is_verified(folder, models, split, found, name):
    with EvidenceFile.open(folder / name) as file:
        assert contradictions(file) == []
    made = verify(folder / name, models[name], images=split, again=Recompute(40, 1))
    assert not made.failures
    assert made.short.of("stands")
    assert any(pair.attack == SCOUT_TARGETED for pair in made.recomputed.pairs)


def test_reports_say_how_the_number_was_got(found):
    evidence = found["honest"]
    verdict = judge(evidence)
    assert verdict.outcome == "not-overestimated"
    data = json.loads(json.dumps(summary(evidence, verdict)))
    assert data["accuracy"]["autoattack"]["method"] == "estimated"
    assert data["accuracy"]["pgd10"] | {"method": "counted", "n": 300} == data["accuracy"]["pgd10"]
    gap = data["gap"]["pgd10-autoattack"]
    assert gap["high"] - gap["low"] <= 2 * PLAN.within + 1e-9
    titles = {row["title"] for row in data["table"]["rows"]}
    assert {"AutoAttack (reduced) (estimated)", "PGD-10"} <= titles
    assert " to " in headline(evidence)
    assert "on the same 300 examples" in table_caption(data)
    assert "estimated from a random sample of them" in table_caption(data)


@pytest.mark.parametrize("name", PATHS)
def test_an_attacks_own_number_is_consistent_with_autoattacks_and_holds(found, full, name):
    """All rows are of all audited examples, no attack of AutoAttack leaves less than it, and gaps are differences."""
    evidence = found[name]
    table = side_by_side(evidence)
    assert {row["n"] for row in (*table["rows"], *table["gaps"])} == {table["examples"]} == {300}
    assert not table["beyond"]
    by_name = {row["name"]: row for row in table["rows"]}
    assert set(by_name) == {"clean", "autoattack", *PLAN.attacks}
    whole = by_name["autoattack"]
    for attack in PLAN.members:
        row, truth = by_name[attack], float(full[name].survives(attack).mean())
        assert row["low"] - 1e-9 <= truth <= row["high"] + 1e-9
        assert row["low"] <= row["value"] <= row["high"]
        assert row["value"] >= whole["value"]
        assert row["low"] >= whole["low"]
    for row in table["gaps"]:
        first, _, second = row["name"].partition("-")
        assert row["value"] == pytest.approx(by_name[first]["value"] - by_name[second]["value"])


def test_a_number_that_was_asked_for_keeps_its_own_lower_limit(found):
    """It may lie far above AutoAttack's, and its sample is as large as it takes."""
    evidence = found["honest"]
    plan = replace(evidence.header.plan, estimate="square")
    asked = replace(evidence, header=replace(evidence.header, plan=plan))
    claimed = replace(evidence, header=replace(evidence.header, claim={"value": 0.5, "attack": "square"}))
    own = sampled_share(
        *(values[drawn(evidence, evidence.correct, "square")] for values in (
            evidence.survives("square"), evidence.correct & ~evidence.broken("square")
        )),
        int(evidence.correct.sum()), len(evidence), PLAN.confidence,
    )  # fmt: skip
    assert own.method == "estimated"
    assert accuracy(evidence, "square").low == accuracy(evidence, "autoattack").low
    assert accuracy(asked, "square").low == accuracy(claimed, "square").low == own.low


def with_plan(evidence, **changes):
    header = evidence.header
    return replace(evidence, header=replace(header, plan=replace(header.plan, **changes)))


def in_another_order(evidence, draw):
    rows = draw.permutation(len(evidence))
    records = {
        name: AttackRecord(
            *(getattr(record, part)[rows] for part in ("outcome", "steps", "forwards", "backwards"))
        )
        for name, record in evidence.attacks.items()
    }
    return replace(
        evidence,
        ids=evidence.ids[rows],
        labels=evidence.labels[rows],
        predictions=evidence.predictions[rows],
        attacks=records,
    )


def test_limits_that_err_contradict_no_other_row(found):
    """At so little confidence they often err; a row still holds its value and leaves no less than AutoAttack does."""
    draw, odd = np.random.default_rng(0), 0
    for evidence in (with_plan(item, confidence=0.5) for item in found.values()):
        for _ in range(20):
            other = in_another_order(evidence, draw)
            rows = {row["name"]: row for row in side_by_side(other)["rows"]}
            for row in rows.values():
                assert row["low"] <= row["value"] <= row["high"]
            for name in rows.keys() & set(PLAN.members):
                assert rows[name]["value"] >= rows["autoattack"]["value"]
                assert rows[name]["low"] >= rows["autoattack"]["low"]
                odd += rows[name]["value"] == rows[name]["high"]
    assert odd, "no limit ever erred"


def test_a_claim_is_about_the_split_and_not_the_limit(found, full):
    """300 of 797 examples are known nearly exactly; of the others that says only what a sample says."""
    evidence = found["honest"]
    whole = accuracy(evidence, "autoattack")
    assert len(evidence) < evidence.header.data["total"]
    answer = judge_claim(evidence, Claim(whole.high + 0.03))
    assert answer.outcome == "inconclusive"
    assert answer.interval.high - answer.interval.low > 0.1
    assert answer.interval.low < whole.low <= whole.high < answer.interval.high
    assert judge_claim(evidence, Claim(min(whole.high + 0.2, 1.0))).outcome == "refuted"
    data = summary(evidence, judge(evidence))
    assert "not all 797 of the split" in table_caption(data)


def test_rows_of_a_limited_audit_are_all_of_what_was_audited(found):
    evidence = found["honest"]
    for name, share in (("clean", evidence.correct.mean()), ("pgd10", evidence.survives("pgd10").mean())):
        row = accuracy(evidence, name)
        assert row.low == row.value == row.high == share


def test_what_a_policy_demands_is_met_by_the_whole_interval_only(found):
    evidence = found["honest"]
    header = replace(found["honest"].header, data=evidence.header.data | {"total": len(evidence)})
    evidence = replace(evidence, header=header)
    interval = accuracy(evidence, "autoattack")
    between = (interval.low + interval.high) / 2
    assert interval.high - interval.low < 2 * 0.05
    assert judge_claim(evidence, Claim(interval.low, demanded=True)).outcome == "consistent"
    assert judge_claim(evidence, Claim(between, demanded=True)).outcome == "inconclusive"
    assert judge_claim(evidence, Claim(interval.high + 1e-6, demanded=True)).outcome == "refuted"


def test_gaps_agree_wherever_they_are_shown(found):
    for evidence in found.values():
        table = {row["name"]: row for row in side_by_side(evidence)["gaps"]}
        verdict = judge(evidence)
        shown = summary(evidence, verdict)["gap"]
        for name, row in table.items():
            assert shown[name]["value"] == row["value"]
            assert (shown[name]["low"], shown[name]["high"]) == (row["low"], row["high"])
        if verdict.outcome == "not-overestimated":
            assert all(row["high"] < row["bound"] + 0.05 for row in table.values())


def test_the_headline_leaves_no_more_than_all_witnesses_do(forged):
    _, evidence, _, here = forged
    everything = replace(evidence.attacks["pgd10"], outcome=np.full(len(evidence), int(Outcome.BROKEN)))
    evidence = replace(evidence, attacks=evidence.attacks | {"pgd10": everything})
    assert here.any()
    assert "0.0 to 0.0 % stand up" in headline(evidence)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE header SET value = json_set(value, '$.within', 0.001) WHERE key = 'plan'",
        "UPDATE header SET value = json_remove(value, '$.scouted') WHERE key = 'early_stopping'",
    ],
)
def test_a_file_that_is_less_precise_than_it_says_is_not_verified(folder, models, split, tmp_path, change):
    path = shutil.copy(folder / "honest", tmp_path / "forged")
    assert not verify(path, models["honest"], images=split).failures
    with editing(path) as db:
        db.execute(change)
    failures = verify(path, models["honest"], images=split).failures
    assert any("is said to be finished" in text for text in failures), failures


def test_waiting_candidates_that_another_attack_breaks_are_attacked_again(
    folder, found, models, split, tmp_path
):
    """Without being asked: that can be, but seldom, and is how a file would call what is broken a candidate."""
    path, evidence = shutil.copy(folder / "honest", tmp_path / "forged"), found["honest"]
    last = int(np.flatnonzero(drawn(evidence, candidates(evidence))).max())
    behind = evidence.ids[evidence.broken("pgd10") & (np.arange(len(evidence)) > last)].tolist()
    assert len(behind) > 3
    with editing(path) as db:
        for key in behind:
            call_candidate(db, key)
    failures = verify(path, models["honest"], images=split).failures
    assert any("is said to be robust" in text or "survive" in text for text in failures), failures


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


def test_another_attacks_number_is_estimated_as_well(models, images, folder, full):
    plan = replace(PLAN, estimate="square", within=0.08)
    evidence = audit(models["honest"], images, plan, path=folder / "square")
    found, truth = accuracy(evidence, "square"), full["honest"].survives("square").mean()
    assert found.method == "estimated"
    assert found.low - 1e-9 <= truth <= found.high + 1e-9
    assert found.high - found.low <= 2 * plan.within + 1e-9
    assert (evidence.attacks["square"].outcome == Outcome.NOT_RUN).sum() > len(images) / 10
    between = gap(evidence, "pgd10-square")
    assert between.high - between.low <= 2 * plan.within + 1e-9
    words = check_command(json.loads(json.dumps(summary(evidence, judge(evidence)))))
    assert "--within 8 --estimate square" in words


def test_the_number_that_a_claim_is_about_is_estimated(models, images, folder):
    evidence = audit(models["honest"], images, PLAN, path=folder / "fab", claim=Claim(0.9, "apgd-t"))
    found = accuracy(evidence, "apgd-t")
    assert found.high - found.low <= 2 * PLAN.within + 1e-9


def test_a_claim_is_judged_by_the_sample(models, images, folder):
    claim = Claim(0.99)
    evidence = audit(models["masked"], images, PLAN, path=folder / "claimed", claim=claim)
    assert judge(evidence, claim).claim.outcome == "refuted"


@pytest.mark.parametrize("flags, word", [
    ({"within": 0.6}, "50 points"), ({"within": -0.01}, "50 points"), ({"examples": "all"}, "examples all"),
    ({"attacks": ("pgd10", "square")}, "apgd-ce"), ({"engine": "reference"}, "engine"),
    ({"estimate": "sqare"}, "did you mean square"), ({"estimate": "square", "within": None}, "needs within"),

])  # fmt: skip
def test_what_cannot_be_is_refused(flags, word):
    with pytest.raises(ValueError, match=word):
        replace(PLAN, **flags)
