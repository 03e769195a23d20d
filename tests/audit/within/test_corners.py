"""A sample where the usual does not hold: other norms, few classes, answers that are none, claims, empty files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robaudit import check
from robaudit.audit import Recompute, audit, verify
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.prices import Prices
from robaudit.audit.recorder import Recorder
from robaudit.audit.short_attacks import ShortAttacks
from robaudit.errors import RobauditError
from robaudit.evidence import (
    QUERIES,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    EvidenceFile,
    Outcome,
)
from robaudit.inputs.classifier import Classifier
from robaudit.inputs.normalisation import parse_normalisation
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.reports import summary
from robaudit.reports.formatting import precision_text
from robaudit.verdict import Claim, accuracy, judge
from robaudit.verdict.sample_claims import sample_contradictions, waiting
from robaudit.verdict.sampling import CHOSEN, MINIMUM, candidates, drawn, narrow
from robaudit.verdict.table import accuracy_of_split
from tests.audit.within.plans import BUDGET, PLAN
from tests.audit.within.test_sample import turned
from tests.evidence.edits import editing

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


def through(network, change):
    """A classifier that is another, and something done to its images and answers."""

    class Changed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return change(self.inner, x)

    return Classifier(Changed().eval(), parse_normalisation("none", 1), network.info)


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


def edited(evidence, name, rows, outcome, steps):
    """The evidence with other outcomes of an attack."""
    record = evidence.attacks[name]
    outcomes, counts = record.outcome.copy(), record.steps.copy()
    outcomes[rows], counts[rows] = outcome, steps
    changed = replace(record, outcome=outcomes, steps=counts)
    return replace(evidence, attacks=evidence.attacks | {name: changed})


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


def test_a_policys_minimum_without_a_sample_is_refused(models, images, split, tmp_path):
    path = tmp_path / "minimum"
    audit(models["honest"], images, replace(PLAN, within=None), path=path)
    with editing(path) as db:
        for key, part, value in (("plan", "within", 0.03), ("early_stopping", MINIMUM, 1)):
            change = "UPDATE header SET value = json_set(value, ?, ?) WHERE key = ?"
            db.execute(change, (f"$.{part}", value, key))
    with EvidenceFile.open(path) as file:
        evidence = file.read()
    failures = verify(path, models["honest"], images=split).failures
    assert any("a policy's minimum is said to be decided by it" in text for text in failures)
    assert any("its short attacks are not through" in text for text in failures)
    assert "attacked to the end" in precision_text(summary(evidence, judge(evidence)))


def test_evidence_of_no_example_is_no_sample(found, folder, models, split, tmp_path):
    path = tmp_path / "none"
    path.write_bytes((folder / "honest").read_bytes())
    with editing(path) as db:
        for table in ("outcomes", "images", "answers", "metrics", "examples"):
            db.execute(f"DELETE FROM {table}")
    assert verify(path, models["honest"], images=split).failures
    with EvidenceFile.open(path) as file:
        assert candidates(file.read()) is None


def test_what_cannot_be_a_sample_is_refused_before_anything_is_attacked(
    found, folder, models, images, tmp_path
):
    path = tmp_path / "kept"
    path.write_bytes((folder / "masked").read_bytes())
    with editing(path) as db:
        db.execute(f"DELETE FROM outcomes WHERE attack = '{SCOUT_TARGETED}' AND outcome = 0")
        before = list(db.execute("SELECT * FROM outcomes ORDER BY attack, id"))
    with pytest.raises(RobauditError, match="holds what is not true"):
        audit(models["masked"], images, replace(PLAN, within=0.02), path=path)
    with editing(path) as db:
        assert list(db.execute("SELECT * FROM outcomes ORDER BY attack, id")) == before


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


def test_a_beginning_said_to_be_made_on_too_few_is_refused(found):
    evidence = found["honest"]
    among = np.flatnonzero(candidates(evidence))
    state = evidence.header.early_stopping | {CHOSEN[SCOUT_DEEP]: 1}
    evidence = replace(evidence, header=replace(evidence.header, early_stopping=state))
    record = evidence.attacks[SCOUT_TARGETED]
    evidence = replace(evidence, attacks=evidence.attacks | {SCOUT_DEEP: record})
    evidence = edited(evidence, SCOUT_DEEP, among, Outcome.ROBUST, 0)
    evidence = edited(evidence, SCOUT_DEEP, among[:5], Outcome.ROBUST, 21)
    assert any("is said to have been tried on" in text for text in sample_contradictions(evidence))


def test_who_got_a_part_of_squares_queries_is_looked_at(models, images, split, tmp_path, monkeypatch):
    """Else a file would say that just those got it that Square broke late, whose margins are large by then."""
    network = through(models["honest"], lambda network, x: network((20 * x).round() / 20))
    monkeypatch.setattr(Prices, "worth", lambda self, candidates: 0.0)
    monkeypatch.setattr(ShortAttacks, "_worth_a_part", lambda self, left, *_: np.zeros_like(left))
    monkeypatch.setattr(ShortAttacks, "_choose", lambda self, scout, *_: self._keep(**{CHOSEN[scout]: 0}))
    budget = replace(BUDGET, square_queries=1000)
    plan = replace(PLAN, threat=ThreatModel("Linf", 0.15), budget=budget)
    path = tmp_path / "forged"
    evidence = audit(network, images, plan, path=path, force=True)
    among, square = candidates(evidence), evidence.attacks["square"]
    lost = among & drawn(evidence, among) & evidence.broken("square") & (square.steps > QUERIES[SCOUT_MORE])
    assert lost.sum() > 5
    whole = evidence.attacks[SCOUT_QUERIES].steps > 0
    others = np.flatnonzero(among & ~lost & ~whole & evidence.survives("square"))[:32]
    part = lost | whole | np.isin(np.arange(len(evidence)), others)
    with editing(path) as db:
        drop = f"DELETE FROM outcomes WHERE attack = '{SCOUT_QUERIES}' AND id = ?"
        db.executemany(drop, [(key,) for key in evidence.ids[lost].tolist()])
        db.execute(
            f"UPDATE header SET value = json_set(value, '$.{CHOSEN[SCOUT_MORE]}', 1) WHERE key = 'early_stopping'"
        )
        rows = [(int(evidence.ids[row]), 300 * int(part[row])) for row in np.flatnonzero(among)]
        db.executemany(f"INSERT INTO outcomes VALUES ('{SCOUT_MORE}', ?, 0, ?, 0, 0, NULL)", rows)
    with EvidenceFile.open(path) as file:
        assert accuracy(file.read(), "autoattack").low > accuracy(evidence, "autoattack").low
    failures = verify(path, network, images=split, again=Recompute(1000, 1)).failures
    assert any("is said to have been among the nearest" in text for text in failures)
