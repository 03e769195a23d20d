"""What is claimed or demanded of a sampled number: more is drawn for it, as long as that can decide it."""

from dataclasses import replace

from robaudit.audit import audit
from robaudit.verdict import Claim, judge
from robaudit.verdict.sampling import candidates, drawn
from robaudit.verdict.table import accuracy_of_split
from tests.audit.within.plans import BUDGET, PLAN


def test_a_claim_about_a_part_of_the_split_is_not_waited_for(models, images, tmp_path):
    """However much is attacked of 300 examples, they leave a claim about 797 open."""
    plan = replace(PLAN, budget=replace(BUDGET, apgd_steps=10))
    claims = (Claim(0.97, "square"), Claim(0.84))
    found = [
        audit(models["honest"], images, plan, path=tmp_path / str(number), claim=claim)
        for number, claim in enumerate(claims)
    ]
    assert {judge(evidence).claim.outcome for evidence in found} == {"inconclusive"}
    for evidence in found:
        among = candidates(evidence)
        assert drawn(evidence, among).sum() < 0.7 * among.sum()


def test_a_minimum_that_a_part_of_the_split_can_decide_is_drawn_for(models, split, tmp_path):
    """The sample's limits move those for the split, so that more of it may be enough."""
    budget, images = replace(BUDGET, apgd_steps=10, fab_steps=1), split.subset(600, 1)
    plan = replace(PLAN, within=0.08, limit=600, budget=budget)
    evidence = audit(models["honest"], images, plan, path=tmp_path / "coarse")
    low, known = (accuracy_of_split(evidence, "autoattack", as_known=known).low for known in (False, True))
    assert low < known - 0.02
    minimum = Claim((low + known) / 2, demanded=True)
    assert judge(evidence, minimum).minimum.outcome == "inconclusive"
    evidence = audit(models["honest"], images, plan, path=tmp_path / "minimum", claim=minimum)
    assert judge(evidence, minimum).minimum.outcome == "consistent"


def test_a_claim_about_the_split_is_decided(models, split, tmp_path):
    """More is drawn for it, of the attack that it is about; that it was kept in the file makes no difference."""
    plan = replace(PLAN, within=0.06, limit=None, budget=replace(BUDGET, apgd_steps=10, fab_steps=1))
    path, claim = tmp_path / "claimed", Claim(0.97, "square")
    audit(models["honest"], split, replace(plan, within=None), path=path, claim=claim)
    evidence = audit(models["honest"], split, plan, path=path)
    assert judge(evidence).claim.outcome != "inconclusive"
    among = candidates(evidence)
    assert drawn(evidence, among).sum() < among.sum()
