"""Evidence made by hand, judged: each side, the border cases, what may not be decided."""

from dataclasses import replace

import numpy as np
import pytest

from robaudit.evidence import AttackRecord, Evidence, Header, Outcome
from robaudit.plan import STANDARD_ATTACKS, AuditPlan, ThreatModel
from robaudit.verdict import ADVICE, Claim, accuracy, bounded, gap, is_complete, judge, judge_claim, paired
from robaudit.verdict.table import GAPS, gaps


def evidence(
    n, correct, robust, *, total=10_000, examples="auto", classes=10, findings=(), zero=0.0, attacks=None
):
    """`n` examples; the first `correct` right; of those `robust[attack]` survive, the first ones."""
    attacks = attacks or STANDARD_ATTACKS
    order = np.random.default_rng(0).permutation(n)
    records = {}
    for name in attacks:
        outcome = np.full(n, int(Outcome.NOT_RUN))
        outcome[:correct] = Outcome.BROKEN
        outcome[: robust[name]] = Outcome.ROBUST
        records[name] = AttackRecord(outcome[order], *(np.ones(n, dtype=np.int64) for _ in range(3)))
    labels, predictions = np.ones(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    predictions[correct:] = 0
    values = np.zeros(n)
    header = Header(
        plan=AuditPlan(ThreatModel("Linf", 0.1), attacks=attacks, examples=examples),
        model={"path": "m", "classes": classes}, data={"name": "d", "total": total}, versions={}, device="cpu",
        findings=findings, finished=True,
    )  # fmt: skip
    return Evidence(
        header,
        np.arange(n),
        labels,
        predictions[order],
        records,
        values,
        values,
        values + 1,
        values + zero * 11,
    )


def same(value):
    return dict.fromkeys(STANDARD_ATTACKS, value)


def test_a_large_gap_is_overestimated():
    verdict = judge(evidence(200, 150, same(40) | {"pgd10": 100}))
    assert verdict.outcome == "overestimated"
    assert verdict.decided_after < 200
    assert {"black-box-beats-white-box", "autoattack-beats-pgd"} == {item.code for item in verdict.causes}


def test_no_gap_is_nothing_found_never_safe():
    verdict = judge(evidence(400, 300, same(150)))
    assert verdict.outcome == "not-overestimated"
    assert "Nothing found" in verdict.summary
    assert "safe" not in verdict.summary
    assert verdict.causes == ()


def test_the_papers_own_table_1():
    """Unstable: PGD-10 0.2872, Square 0.1215. Regular: 0.2441 and 0.2426, AutoAttack 0.2027."""
    n = 10_000
    unstable = same(1042) | {"pgd10": 2872, "square": 1215}
    assert judge(evidence(n, 5593, unstable, examples="all")).outcome == "overestimated"
    regular = same(2027) | {"pgd10": 2441, "square": 2426}
    assert judge(evidence(n, 5363, regular, examples="all")).outcome == "not-overestimated"


def test_autoattack_alone_can_show_it():
    found = judge(evidence(600, 500, same(100) | {"pgd10": 300, "square": 320}))
    assert found.outcome == "overestimated"
    assert [item.code for item in found.causes if "beats" in item.code] == ["autoattack-beats-pgd"]


@pytest.mark.parametrize("gap_points", [6, 8, 10])
def test_a_few_examples_near_the_bound_decide_nothing(gap_points):
    verdict = judge(evidence(100, 80, same(50 - gap_points) | {"pgd10": 50}))
    assert verdict.outcome == "inconclusive"
    assert verdict.decided_after == 100


def test_the_whole_split_decides_by_its_own_value():
    for points, outcome in ((9, "overestimated"), (7, "not-overestimated")):
        found = judge(evidence(100, 80, same(50 - points) | {"pgd10": 50}, total=100))
        assert found.outcome == outcome


@pytest.mark.parametrize("n", [1, 2, 10, 49])
def test_few_examples_are_worded_and_not_judged(n):
    verdict = judge(evidence(n, n, same(n)))
    assert verdict.outcome == "inconclusive"
    assert "few-examples" in {item.code for item in verdict.causes}


def test_all_misclassified_and_no_robust_accuracy_divide_by_nothing():
    assert judge(evidence(300, 0, same(0))).outcome == "not-overestimated"
    assert judge(evidence(300, 250, same(0))).outcome == "not-overestimated"


def test_without_the_attacks_nothing_is_decided():
    only = evidence(300, 200, {"pgd10": 100}, attacks=("pgd10",))
    assert judge(only).outcome == "inconclusive"
    assert "not measured" in judge(only).summary


def test_a_blocking_finding_leaves_it_inconclusive():
    finding = {"code": "randomised-output", "severity": "error", "message": "m.", "advice": "a."}
    verdict = judge(evidence(300, 200, same(10) | {"pgd10": 190}, findings=(finding,)))
    assert verdict.outcome == "inconclusive"
    assert verdict.causes[0].code == "randomised-output"


def test_how_grave_a_finding_is_does_not_depend_on_what_a_file_says():
    finding = {"code": "probabilities", "severity": "error", "message": "m.", "advice": "a."}
    verdict = judge(evidence(300, 200, same(10) | {"pgd10": 190}, findings=(finding,)))
    assert verdict.outcome == "overestimated"
    assert "warning" in {item.severity for item in verdict.causes if item.code == "probabilities"}


@pytest.mark.parametrize(
    ("indicators", "failures", "own"),
    [
        ({"transfer_failure": 0.2}, 30, True),
        ({"silent_success": 0.125}, 24, True),
        ({"unavailable_gradients": 0.1}, 20, False),  # two examples
        ({"incomplete_optimization": 0.4}, 30, False),  # fixed by the stronger attacks' steps
        ({}, 30, False),
    ],
)
def test_nothing_found_and_pgd_failing_for_reasons_of_its_own_exclude_each_other(indicators, failures, own):
    found = evidence(400, 300, same(150))
    probes = {"examples": 48.0, "pgd10": failures / 48} | indicators
    verdict = judge(replace(found, header=replace(found.header, probes=probes)))
    assert (verdict.outcome, verdict.blocked) == (
        ("inconclusive", True) if own else ("not-overestimated", False)
    )
    assert ("pgd-attack-fails" in {item.code for item in verdict.causes}) == own


def test_zero_gradients_and_imbalance_are_named():
    codes = {item.code for item in judge(evidence(300, 200, same(100) | {"apgd-ce": 150}, zero=0.5)).causes}
    assert codes == {"vanishing-gradients", "imbalanced-gradients"}
    assert "substituted-loss" in {i.code for i in judge(evidence(300, 200, same(100), classes=3)).causes}


def test_accuracies_and_gaps_are_the_counts():
    found = evidence(200, 150, same(40) | {"pgd10": 100}, examples="all")
    assert accuracy(found, "clean").value == 0.75
    assert accuracy(found, "pgd10").value == 0.5
    assert accuracy(found, "autoattack").value == 0.2
    assert gap(found, "pgd10-square").value == pytest.approx(0.3)
    for interval in (accuracy(found, "pgd10"), gap(found, "pgd10-square")):
        assert interval.low < interval.value < interval.high
        assert interval.n == 200


def test_every_code_says_what_to_do():
    for code, (severity, advice) in ADVICE.items():
        assert severity in ("error", "warning", "note"), code
        assert advice.endswith("."), code


@pytest.mark.parametrize(
    ("value", "outcome"), [(0.9, "refuted"), (0.5, "refuted"), (0.21, "consistent"), (0.05, "consistent")]
)
def test_claims(value, outcome):
    found = evidence(6000, 5000, same(1200), total=10_000)  # AutoAttack leaves 20 %
    assert judge_claim(found, Claim(value)).outcome == outcome
    assert judge(found, Claim(value)).settled


def test_a_claim_is_open_on_few_examples_and_keeps_the_audit_going():
    verdict = judge(evidence(120, 100, same(40)), Claim(0.35))
    assert verdict.outcome == "not-overestimated"
    assert verdict.claim.outcome == "inconclusive"
    assert not verdict.settled


@pytest.mark.parametrize(("value", "attack"), [(53, "autoattack"), (-0.1, "pgd10"), (0.5, "fgsm")])
def test_bad_claims_are_refused(value, attack):
    with pytest.raises(ValueError, match="claim"):
        Claim(value, attack)


def test_a_claim_about_an_attack_that_was_not_run_is_refused():
    with pytest.raises(ValueError, match="not run"):
        judge_claim(evidence(100, 90, {"pgd10": 40}, attacks=("pgd10",)), Claim(0.5))


def test_an_interrupted_audit_decides_nothing_by_what_it_has_not_seen():
    """Rows still to be run once shrank the population to what had been run, which then looked complete."""
    found = evidence(797, 700, same(400), total=797)
    found.attacks["fab-t"].outcome[40:] = Outcome.NOT_RUN
    assert judge(found).outcome == "inconclusive"
    assert gap(found, "pgd10-autoattack").n < 60


def test_a_model_cannot_hide_behind_nan():
    found = evidence(300, 280, same(200) | {"pgd10": 270}, total=10_000)
    assert judge(found).outcome == "overestimated"
    for name in ("square", "apgd-ce", "apgd-t", "fab-t"):
        outcome = found.attacks[name].outcome
        outcome[outcome == Outcome.BROKEN] = Outcome.NONFINITE
    verdict = judge(found)
    assert verdict.outcome == "inconclusive"
    assert "no-answer-under-attack" in {item.code for item in verdict.causes}


def test_what_is_known_in_part_bounds_what_will_be_known():
    whole = evidence(300, 280, same(120) | {"pgd10": 200, "square": 150})
    exact = {name: paired(whole, *GAPS[name][:2]).values for name in gaps(whole)}
    draw = np.random.default_rng(0)
    for _ in range(20):
        part = evidence(300, 280, same(120) | {"pgd10": 200, "square": 150})
        for name in STANDARD_ATTACKS[1:]:
            part.attacks[name].outcome[draw.random(300) < draw.random()] = Outcome.NOT_RUN
        for name, values in exact.items():
            found = bounded(part, *GAPS[name][:2])
            assert (found.low <= values).all()
            assert (values <= found.high).all()
        assert judge(part).outcome in ("overestimated", "inconclusive")
    assert judge(whole).outcome == "overestimated"


def test_breaks_found_by_the_scout_alone_can_decide():
    """Nothing but PGD-10, and Square where it broke."""
    part = evidence(200, 180, same(20) | {"pgd10": 150})
    for name in ("apgd-ce", "apgd-t", "fab-t"):
        part.attacks[name].outcome[:] = Outcome.NOT_RUN
    square = part.attacks["square"].outcome
    square[square == Outcome.ROBUST] = Outcome.NOT_RUN
    assert judge(part).outcome == "overestimated"
    assert "at least" in judge(part).summary


def test_pgd_alone_decides_where_it_leaves_nothing():
    part = evidence(200, 180, same(0))
    for name in STANDARD_ATTACKS[1:]:
        part.attacks[name].outcome[:] = Outcome.NOT_RUN
    assert judge(part).outcome == "not-overestimated"


@pytest.mark.parametrize("attacks", [STANDARD_ATTACKS, ("pgd10", "square"), ("pgd10",)])
def test_an_open_verdict_is_final_once_every_example_is_attacked(attacks):
    found = evidence(60, 50, dict.fromkeys(attacks, 30), attacks=attacks)
    found = replace(found, header=replace(found.header, data=found.header.data | {"n": 60}))
    verdict = judge(found)
    assert not verdict.settled
    assert is_complete(found, verdict)
    more = replace(found, header=replace(found.header, data=found.header.data | {"n": 61}))
    assert not is_complete(more, judge(more))
    if len(attacks) > 1:
        found.attacks[attacks[-1]].outcome[:3] = Outcome.NOT_RUN
        assert not is_complete(found, judge(found))
