"""Numbers side by side are of the same examples, and every sentence says what was and what was not done."""

import json
import shutil
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from robaudit.cli import run
from robaudit.evidence import EvidenceFile, Outcome
from robaudit.plan import STANDARD_ATTACKS, AuditPlan, Budget, ThreatModel
from robaudit.reports import REPORTS, REPORTS_OF_SEVERAL, headline, make_case, open_case, side_by_side
from robaudit.verdict import Claim, judge
from tests.cli.helpers import QUICK
from tests.evidence.edits import editing
from tests.verdict.test_verdict import evidence, same

FORMATS = ("terminal", "markdown", "html")


def partial(n=100, deepened=64):
    """PGD-10 on all, the others on the first `deepened` only, as in an audit that stopped early."""
    found = evidence(n, 90, same(45) | {"pgd10": 46})
    for name in STANDARD_ATTACKS[1:]:
        found.attacks[name].outcome[deepened:] = Outcome.NOT_RUN
    return whole(found)


def whole(found, **plan):
    """With the texts that reports show."""
    header = found.header
    model = {"path": "m.pt", "sha256": "0" * 64, "architecture": "a", "normalisation": "none"}
    model |= {"parameters": 1, "classes": 10}
    data = header.data | {"name": "d", "split": "test", "n": len(found), "sha256": "1" * 64}
    data |= {"shape": [1, 8, 8], "classes": 10}
    versions = {"robaudit": "1", "torch": "2", "python": "3"}
    header = replace(header, plan=replace(header.plan, **plan), model=model, data=data, versions=versions)
    return replace(found, header=header)


def case_of(found, claim=None):
    return make_case(found, judge(found, claim), "m.evidence")


def test_every_row_is_of_the_examples_that_all_rows_share():
    found = side_by_side(partial())
    assert found["examples"] == 64
    assert {row["n"] for row in (*found["rows"], *found["gaps"])} == {64}
    by_name = {row["name"]: row["value"] for row in found["rows"]}
    for row in found["gaps"]:
        first, _, second = row["name"].partition("-")
        assert row["value"] == pytest.approx(by_name[first] - by_name[second]), (
            "the gap is that of the two rows"
        )
    assert {(row["name"], row["n"]) for row in found["beyond"]} >= {("clean", 100), ("pgd10", 100)}


@pytest.mark.parametrize("form", FORMATS)
def test_no_report_sets_numbers_of_other_examples_into_the_table(form):
    text = REPORTS[form](case_of(partial()))
    said = "| of more examples |" if form == "markdown" else "Of more examples: Clean 90.0 %"
    assert said in text.replace("&#46;", ".")
    assert "on every correctly classified example" not in text


def test_the_first_line_is_a_sentence_about_the_same_examples():
    found = partial()
    assert headline(found).startswith("PGD-10 reports 46.0 %; at most ")
    for form in (*FORMATS, "junit", "sarif"):
        case = case_of(whole(evidence(600, 500, same(100) | {"pgd10": 300})))
        text = REPORTS[form](case).replace("&#46;", ".")
        assert "PGD-10 reports 50.0 %; at most 16.7 % stands up (600 examples)." in text, form


def test_what_is_not_run_stands_up_at_most():
    found = evidence(100, 90, same(10) | {"pgd10": 50})
    for name in STANDARD_ATTACKS[1:]:
        found.attacks[name].outcome[50:] = Outcome.NOT_RUN
    broken = np.zeros(100, dtype=bool)
    for name in STANDARD_ATTACKS:
        broken |= found.broken(name)
    most = 100 * float((found.correct & ~broken).mean())
    assert headline(found) == f"PGD-10 reports 50.0 %; at most {most:.1f} % stands up (100 examples)."
    assert "no other attack was run" in headline(evidence(30, 20, {"pgd10": 10}, attacks=("pgd10",)))


def reduced(**budget):
    return whole(evidence(200, 180, same(100) | {"pgd10": 101}), budget=Budget(**budget))


@pytest.mark.parametrize(
    "budget", [{"square_queries": 1}, {"apgd_steps": 1}, {"fab_steps": 1}, {"targets": 1}]
)
def test_a_reduced_budget_is_said_wherever_its_number_is(budget):
    case = case_of(reduced(**budget))
    for form in FORMATS:
        assert "AutoAttack (reduced)" in REPORTS[form](case).replace("&#40;", "(").replace("&#41;", ")"), form
    assert "(reduced AutoAttack)" in "".join(ET.fromstring(REPORTS["badge"](case)).itertext())
    assert json.loads(REPORTS["json"](case))["accuracy"]["autoattack"]["reduced"]
    assert not case_of(whole(evidence(200, 180, same(100)))).data["accuracy"]["autoattack"]["reduced"]


def test_as_many_targets_as_other_classes_are_not_reduced():
    plan = AuditPlan(ThreatModel("Linf", 0.1), budget=Budget(targets=4))
    assert plan.reduced(5) == ()
    assert plan.reduced(10) == ("apgd-t", "fab-t", "autoattack")
    assert plan.title("pgd10", 10) == "PGD-10"
    short = replace(plan, budget=Budget(pgd_steps=3))
    assert short.title("pgd10-square", 10) == "PGD-3 − Square"


def test_a_weak_black_box_attack_is_found_too_weak_to_tell():
    found = evidence(200, 180, same(90) | {"pgd10": 90, "square": 150})
    weak = judge(whole(found, budget=Budget(square_queries=5)))
    texts = [item.message for item in weak.causes if item.code == "weak-black-box"]
    assert len(texts) == 1
    assert "the black-box attack was too weak to tell" in texts[0]
    assert "weak-black-box" not in {item.code for item in judge(whole(found)).causes}, (
        "at its standard budget it tells"
    )


def test_shares_say_of_how_many_and_are_left_out_where_that_is_too_few():
    probes = {"examples": 30.0, "saturated": 1.0, "only_noise": 0.5}
    found = whole(evidence(300, 200, same(100), zero=0.5))
    some = replace(found, header=replace(found.header, probes=probes))
    text = " ".join(item.message for item in judge(some).causes)
    assert "30 of 30 clean inputs that were probed" in text
    assert "on 300 examples" in text
    one = replace(found, header=replace(found.header, probes=probes | {"examples": 1.0}))
    assert "noise-beats-pgd" not in {item.code for item in judge(one).causes}
    assert "softmax" not in " ".join(item.message for item in judge(one).causes)
    few = case_of(partial(n=40, deepened=1))
    assert "of what every attack" not in REPORTS["terminal"](few)


@pytest.mark.parametrize("n", [32, 40, 64, 300])
def test_where_pgd_leaves_nothing_there_is_nothing_to_overestimate(n):
    verdict = judge(evidence(n, n // 2, same(0)))
    assert verdict.outcome == "not-overestimated"
    assert "no robustness that could be overestimated" in verdict.summary
    page = REPORTS["html"](case_of(whole(evidence(n, n // 2, same(0)))))
    assert "is wrong with probability" not in page, "that is about the gaps, which nobody decided"


def test_few_examples_without_robustness_prove_nothing():
    assert judge(evidence(31, 20, same(0))).outcome == "inconclusive"


def test_pgd_alone_may_say_that_there_is_nothing_to_overestimate():
    verdict = judge(evidence(64, 60, {"pgd10": 0}, attacks=("pgd10",)))
    assert verdict.outcome == "not-overestimated"


def test_a_policys_minimum_is_no_claim():
    case = case_of(whole(evidence(600, 500, same(100) | {"pgd10": 105})), Claim(0.5, demanded=True))
    for form in FORMATS:
        text = REPORTS[form](case)
        assert "policy's minimum" in text.replace("&#x27;", "'").replace("&#39;", "'"), form
        assert "The claim" not in text
    assert case.data["claim"] is None
    assert case.data["minimum"]["outcome"] == "refuted"
    assert "below-minimum" in REPORTS["sarif"](case)


def test_no_sentence_uses_an_internal_name():
    for found in (
        evidence(100, 80, same(45) | {"pgd10": 50}),
        evidence(300, 200, {"pgd10": 100}, attacks=("pgd10",)),
        evidence(300, 200, {"pgd10": 150, "square": 50}, attacks=("pgd10", "square")),
        partial(),
    ):
        verdict = judge(whole(found))
        text = " ".join([verdict.summary, *(item.message for item in verdict.causes)])
        for name in ("pgd10", "autoattack", "apgd-", "fab-t", "square"):
            assert name not in text, text


@pytest.fixture
def claimed(tmp_path):
    from tests.shipped import DISTILLED

    path = tmp_path / "claimed.evidence"
    arguments = [
        "check",
        str(DISTILLED),
        "--dataset",
        "digits",
        "--limit",
        "64",
        *QUICK,
        "--evidence",
        str(path),
    ]
    assert run([*arguments, "--claim", "0.9"]) == 1
    return path


def test_a_claim_is_kept_in_the_evidence_and_shown_by_every_report(claimed, capsys):
    case = open_case(claimed)
    assert case.data["claim"]["value"] == 0.9
    for form in FORMATS:
        assert "The claim of 90.00 %" in REPORTS[form](case), form
    assert "claim" in REPORTS_OF_SEVERAL["junit"]([case]) or "at least 90 %" in REPORTS_OF_SEVERAL["junit"](
        [case]
    )
    assert json.loads(REPORTS["json"](case))["claim"]["outcome"] == "refuted"
    assert "--claim 0.9" in REPORTS["html"](case)
    with EvidenceFile.open(claimed) as file:
        assert file.header().claim == {"value": 0.9, "attack": "autoattack"}


def test_a_damaged_claim_is_a_clear_error(claimed, capsys):
    for value in ("{}", '{"value": 41, "attack": "autoattack"}', '{"value": "x", "attack": 3}', '"no"'):
        copy = claimed.with_name("copy.evidence")
        shutil.copy(claimed, copy)
        with editing(copy) as db:
            db.execute("UPDATE header SET value = ? WHERE key = 'claim'", (value,))
        capsys.readouterr()
        code = run(["report", str(copy)])
        assert code == (0 if value == "{}" else 2)
        assert "Traceback" not in capsys.readouterr().err


def test_several_checkpoints_stand_side_by_side_on_the_same_examples(audited, capsys, monkeypatch):
    monkeypatch.chdir(audited)
    arguments = ["honest.safetensors", "masked.safetensors", "--dataset", "digits", "--limit", "64", *QUICK]
    capsys.readouterr()
    assert run(["check", *arguments]) == 1
    out = capsys.readouterr().out
    assert "AutoAttack" in out
    assert "autoattack" not in out
    assert "stands up" in out


def test_much_better_is_not_called_not_worse(audited, capsys):
    honest, masked = str(audited / "honest.evidence"), str(audited / "masked.evidence")
    assert run(["compare", masked, honest]) == 0
    out = capsys.readouterr().out
    assert out.startswith("BETTER")
    assert "NOT WORSE" not in out
    assert "under autoattack" not in out
