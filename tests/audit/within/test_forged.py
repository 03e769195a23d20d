"""Evidence of a sample is verified, and what is forged in it is found."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from robaudit.audit import Recompute, audit, verify
from robaudit.cli.verify import summary_lines
from robaudit.errors import RobauditError
from robaudit.evidence import (
    SCOUT_DEEP,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTS,
    EvidenceFile,
    Outcome,
    begun,
)
from robaudit.evidence.consistency import contradictions
from robaudit.plan import Bounds, Budget, ThreatModel
from robaudit.verdict import Claim, accuracy, is_complete, judge
from robaudit.verdict.sampling import candidates, drawn
from tests.audit.within.plans import BUDGET, PATHS, PLAN
from tests.evidence.edits import editing


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
        "is a candidate that was not attacked by: APGD-CE" in text for text in problems(path, models, split)
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
        "is a candidate that was not attacked by: APGD-T" in text for text in problems(path, models, split)
    )
    with editing(path) as db:
        for key in quick.tolist():
            call_candidate(db, key)
    found = problems(path, models, split)
    assert sum("is said to survive, but the attack breaks it" in text for text in found) >= len(quick)


def test_a_claim_that_no_number_was_met_is_tried_again(forged, models, split):
    path, evidence, _, here = forged
    beyond = np.arange(len(evidence)) > np.flatnonzero(here).max()
    lost = evidence.ids[beyond & evidence.broken("pgd10") & evidence.broken("apgd-ce")].tolist()
    assert len(lost) > 3
    with editing(path) as db:
        for key in lost:
            call_candidate(db, key, ("apgd-ce", 7))
        chosen = f"attack != 'pgd10' AND id IN ({', '.join(map(str, lost))})"
        db.execute(f"UPDATE outcomes SET outcome = 2 WHERE {chosen}")
    with EvidenceFile.open(path) as file:
        assert accuracy(file.read(), "autoattack").value > accuracy(evidence, "autoattack").value
    found = problems(path, models, split)
    assert any("APGD-CE on example" in text and "have met no number, but" in text for text in found), found
    with editing(path) as db:
        db.execute(f"UPDATE outcomes SET steps = 0 WHERE {chosen}")
    found = problems(path, models, split)
    assert any("said to have met no number, before its first step" in text for text in found), found


def test_breaks_beyond_the_last_draw_are_explained_too(models, split, images, tmp_path):
    """More is attacked in a copy, and of that only the breaks are taken over: so many candidates less."""
    path, narrow = tmp_path / "forged", tmp_path / "narrow"
    weak = Budget(apgd_steps=2, fab_steps=25, square_queries=60, targets=1)
    bounds, threat = Bounds(0.5, 0.5), ThreatModel("Linf", 0.17)
    plan = replace(PLAN, threat=threat, budget=weak, within=0.1, bounds=bounds)
    evidence = audit(models["honest"], images, plan, path=path)
    shutil.copy(path, narrow)
    more = audit(models["honest"], images, replace(plan, within=0.001), path=narrow)
    among = candidates(evidence)
    late = among & ~drawn(evidence, among) & more.broken("autoattack") & ~evidence.broken("autoattack")
    assert late.any()
    chosen = f"id IN ({', '.join(map(str, evidence.ids[late].tolist()))})"
    with editing(path) as db:
        db.execute("ATTACH ? AS narrow", (str(narrow),))
        db.execute(f"DELETE FROM outcomes WHERE {chosen} AND attack != 'pgd10'")
        taken = f"{chosen} AND attack != 'pgd10' AND"
        db.execute(f"INSERT INTO outcomes SELECT * FROM narrow.outcomes WHERE {taken} outcome = 1")
        db.execute(f"INSERT OR IGNORE INTO images SELECT * FROM narrow.images WHERE {chosen}")
        db.execute(f"INSERT OR REPLACE INTO answers SELECT * FROM narrow.answers WHERE {taken} 1")
    with EvidenceFile.open(path) as file:
        assert contradictions(file) == []
        assert accuracy(file.read(), "autoattack").high < accuracy(evidence, "autoattack").high
    failures = verify(path, models["honest"], images=split).failures
    assert any("broken by no short attack" in text for text in failures), failures


def test_drawn_survivors_are_attacked_again_apart_from_what_was_not_drawn(found, folder, models, split):
    """Each of them stands for many examples: among all pairs a few forged ones would hardly ever be met."""
    evidence = found["masked"]
    made = verify(folder / "masked", models["masked"], images=split, again=Recompute(8, 1))
    whole = drawn(evidence, candidates(evidence)) & evidence.survives("autoattack")
    assert made.recomputed.among == 4 * whole.sum() > 0
    assert {pair.id for pair in made.recomputed.pairs} <= set(evidence.ids[whole].tolist())
    assert not {pair.attack for pair in made.recomputed.pairs} & {"pgd10", *SCOUTS}
    assert len(made.recomputed.pairs) == 8
    assert len(made.waiting.pairs) == 32
    text = " ".join(summary_lines(made, evidence.header))
    assert f"8 of {made.recomputed.among} drawn survivors were attacked again" in text
    assert f"32 of {made.waiting.among} other survivors were attacked again" in text
    without = " ".join(summary_lines(replace(made, recomputed=None), evidence.header))
    assert "other survivors" in without
    assert "none of them was made again" not in without


@pytest.mark.parametrize("eps", [0.1, 0.5])
def test_honest_evidence_is_verified_whatever_it_was_asked_for(models, split, tmp_path, eps):
    """A claim that an earlier call left in the file, then a sample; a network that PGD-10 breaks completely."""
    path, plan = tmp_path / "a", replace(PLAN, threat=ThreatModel("Linf", eps), within=None, limit=150)
    images = split.subset(150, plan.seed)
    audit(models["masked"], images, plan, path=path, claim=Claim(0.95, "square"))
    assert verify(path, models["masked"], images=split).failures == ()
    found = audit(models["masked"], images, replace(plan, within=0.05), path=path)
    assert is_complete(found, judge(found))
    assert verify(path, models["masked"], images=split, again=Recompute(4, 1)).failures == ()


def test_a_precision_that_another_attacks_number_does_not_have(forged, models, split):
    path, evidence, *_ = forged
    assert evidence.open("square").any()
    with editing(path) as db:
        plan = evidence.header.plan.to_dict() | {"estimate": "square"}
        db.execute("UPDATE header SET value = ? WHERE key = 'plan'", (json.dumps(plan),))
    with EvidenceFile.open(path) as file:
        assert not is_complete(file.read(), judge(file.read()))
    assert any("less is known of a number" in text for text in problems(path, models, split))


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


def test_breaks_by_no_short_attack_are_named_where_some_are_made_again(forged, models, split):
    path, evidence, among, here = forged
    lost = evidence.ids[here & among & ~evidence.survives("autoattack")].tolist()
    assert lost
    with editing(path) as db:
        for key in lost:
            db.execute(f"DELETE FROM outcomes WHERE id = {key} AND attack LIKE '%-scout%'")
    again = Recompute(4, 1)
    found = verify(path, models["masked"], images=split, again=again).failures
    assert any("were broken by no short attack" in text for text in found), found


@pytest.mark.parametrize("name", PATHS)
def test_its_file_hangs_together_and_is_verified(folder, models, split, found, name):
    with EvidenceFile.open(folder / name) as file:
        assert contradictions(file) == []
    made = verify(folder / name, models[name], images=split, again=Recompute(40, 1))
    assert not made.failures
    assert made.short.of("stands")
    assert any(pair.attack == SCOUT_TARGETED for pair in made.waiting.pairs)


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


def test_what_a_file_leaves_out_is_no_break(forged, models, split, images):
    """Examples that no short attack is said to have been run on would be neither candidates nor broken: 6 % robust."""
    path, evidence, _, _ = forged
    with editing(path) as db:
        db.execute(
            "DELETE FROM outcomes WHERE attack LIKE '%scout%' AND id IN (SELECT id FROM examples WHERE position > 60) "
            "AND id NOT IN (SELECT id FROM outcomes WHERE outcome = 1 AND attack != 'pgd10')"
        )
    with EvidenceFile.open(path) as file:
        found = accuracy(file.read(), "autoattack")
    assert found.high >= accuracy(evidence, "autoattack").value
    assert any("was not attacked by" in text for text in problems(path, models, split))
    with pytest.raises(RobauditError, match="holds what is not true: sample: example"):
        audit(models["masked"], images, replace(PLAN, within=0.01), path=path)


def test_short_attacks_that_never_ran_are_not_gone_on_from(models, split, images, tmp_path):
    path = tmp_path / "forged"
    audit(models["honest"], images, replace(PLAN, within=None), path=path)
    with editing(path) as db:
        db.execute("UPDATE header SET value = json_set(value, '$.scouted', 1) WHERE key = 'early_stopping'")
    failures = verify(path, models["honest"], images=split).failures
    assert any(text.startswith("sample: ") for text in failures), failures
    with pytest.raises(RobauditError, match="holds what is not true: sample: "):
        audit(models["honest"], images, PLAN, path=path)


def test_a_claim_of_an_attack_that_was_not_asked_for_is_damage(forged):
    path, _, _, _ = forged
    with editing(path) as db:
        value = '{"attack": "nope", "value": 0.9}'
        db.execute("INSERT OR REPLACE INTO header VALUES ('claim', ?)", (value,))
    with EvidenceFile.open(path) as file, pytest.raises(RobauditError, match="its claim is about an attack"):
        file.header()


def test_an_attack_with_no_outcome_is_refused_instead_of_waited_for(found, models, images, folder, tmp_path):
    """Of a candidate that is still to be drawn: nothing would run the attack, nor say what came of it."""
    path = shutil.copy(folder / "honest", tmp_path / "forged")
    with EvidenceFile.open(path) as file:
        evidence = file.read()
    waiting = evidence.ids[candidates(evidence) & evidence.open("autoattack")]
    assert len(waiting)
    with editing(path) as db:
        rows = [("fab-t", key, int(Outcome.NOT_RUN), 0, 0, 0) for key in waiting.tolist()]
        names = "(attack, id, outcome, steps, forwards, backwards)"
        db.executemany(f"INSERT OR REPLACE INTO outcomes {names} VALUES (?, ?, ?, ?, ?, ?)", rows)
    with pytest.raises(RobauditError, match="with no outcome"):
        audit(models["honest"], images, replace(PLAN, within=0.01), path=path)
