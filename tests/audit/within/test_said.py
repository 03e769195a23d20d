"""What is said of a number from a sample: how it was got, in rows, gaps and claims that agree with each other."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import robaudit
from robaudit.audit import audit
from robaudit.evidence import (
    AttackRecord,
    Outcome,
)
from robaudit.plan import Bounds, Budget, ThreatModel
from robaudit.reports import headline, side_by_side, summary
from robaudit.reports.commands import check_command
from robaudit.reports.formatting import asked_texts, table_caption
from robaudit.stats import PROPORTION_STAKES, sampled_share
from robaudit.verdict import Claim, accuracy, gap, judge, judge_claim, never_broken
from robaudit.verdict.sampling import drawn
from tests.audit.within.plans import PATHS, PLAN
from tests.models import Wrapped


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
        int(evidence.correct.sum()), len(evidence), PLAN.confidence, lower=PROPORTION_STAKES,
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
    assert any("these 300 examples, not all 797 of the split" in text for text in asked_texts(data))


def test_where_no_example_is_right_nothing_is_estimated_and_nothing_said_to_be_attacked():
    x, y = (
        torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.zeros(60, dtype=torch.int64),
    )
    model = Wrapped(lambda x: torch.tensor([0.0, 1.0]) + 0 * x.flatten(1)[:, :2])
    found = robaudit.check(model, x, y, eps=0.1, within=3, limit=40, force=True)
    data = found.to_dict()
    assert {(item["low"], item["high"]) for item in data["accuracy"].values()} == {(0.0, 0.0)}
    assert any("no example is classified correctly" in text for text in asked_texts(data))
    assert not any("attacked, so it is exact" in text for text in asked_texts(data))


def test_what_gave_no_usable_answer_is_not_called_exact(found):
    data = summary(found["honest"], judge(found["honest"]))
    whole = data["accuracy"]["autoattack"] | {"method": "counted", "low": 0.1, "high": 0.9}
    data = data | {"accuracy": data["accuracy"] | {"autoattack": whole}}
    assert any("leave it as open as its interval" in text for text in asked_texts(data))
    exact = data | {"accuracy": data["accuracy"] | {"autoattack": whole | {"low": 0.9}}}
    assert any("so it is exact for these" in text for text in asked_texts(exact))
    vague = data | {"accuracy": data["accuracy"] | {"autoattack": whole | {"method": "estimated"}}}
    assert any("when the policy's minimum was decided" in text for text in asked_texts(vague))


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


def test_the_headlines_limits_hold_where_pgd_breaks_more_than_a_weak_autoattack(models, split, tmp_path):
    """What only PGD-10 broke is no part of what stands up, though AutoAttack's number counts it."""
    weak = Budget(apgd_steps=1, fab_steps=12, square_queries=60, targets=1)
    threat, bounds = ThreatModel("Linf", 0.15), Bounds(0.5, 0.5)
    plan = replace(PLAN, threat=threat, budget=weak, within=0.03, bounds=bounds, limit=None)
    evidence = audit(models["honest"], split, plan, path=tmp_path / "a")
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+) % stand up", headline(evidence)).groups())
    whole = audit(models["honest"], split, replace(plan, within=0.0001), path=tmp_path / "a")
    truth = 100 * never_broken(whole).mean()
    assert truth < 100 * whole.survives("autoattack").mean() - 1
    assert low - 0.05 <= truth <= high + 0.05


def test_the_headline_counts_the_examples_that_its_interval_is_about(found):
    evidence = found["honest"]
    record = evidence.attacks["pgd10"]
    unanswered = np.where(np.arange(len(evidence)) == 7, int(Outcome.NONFINITE), record.outcome)
    changed = replace(evidence, attacks=evidence.attacks | {"pgd10": replace(record, outcome=unanswered)})
    assert evidence.correct[7]
    assert "stand up (300 examples)" in headline(changed)


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
