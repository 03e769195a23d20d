"""The audit as a whole on the embedded default: outcomes, resume, verify, preflight."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robaudit.audit import Recompute, audit, preflight, verify
from robaudit.engine import Tuning
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, encode_witness
from robaudit.inputs import Classifier, load_classifier, load_images
from robaudit.inputs.normalisation import parse_normalisation
from robaudit.plan import AuditPlan, Budget, ThreatModel, title
from robaudit.verdict import judge
from tests.evidence.edits import editing
from tests.models import Wrapped
from tests.shipped import ADVERSARIAL, DISTILLED

CPU = torch.device("cpu")
SMALL = Budget(apgd_steps=10, fab_steps=10, square_queries=60, targets=3)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=60, seed=1)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier(str(ADVERSARIAL))


def plan(**changes):
    return AuditPlan(**{"threat": ThreatModel("Linf", 0.1), "examples": "all", "budget": SMALL} | changes)


def outcomes(evidence):
    return {
        name: (record.outcome.tolist(), record.steps.tolist()) for name, record in evidence.attacks.items()
    }


def test_every_example_has_an_outcome_under_every_attack(tmp_path, classifier, images):
    evidence = audit(classifier, images, plan(), path=tmp_path / "a", device="cpu")
    assert len(evidence) == 60
    assert evidence.header.finished
    with torch.no_grad():
        assert evidence.correct.tolist() == (classifier(images.float()).argmax(1) == images.labels).tolist()
    for name in plan().attacks:
        record = evidence.attacks[name]
        assert (record.outcome[evidence.correct] != Outcome.NOT_RUN).all()
        assert not evidence.survives(name)[~evidence.correct].any()
        assert (record.forwards[evidence.correct] > 0).all()
    for values in (evidence.fosc, evidence.fosc_normalised, evidence.sgcs):
        assert np.isfinite(values).all()
    assert (evidence.survives("autoattack") <= evidence.survives("square")).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_evidence_tells_what_was_searched_in(tmp_path, classifier, images, precision):
    wanted = replace(plan(), precision=precision)
    evidence = audit(classifier, images, wanted, path=tmp_path / "a", device="cpu")
    assert evidence.header.precision == precision
    alone = replace(wanted, attacks=("pgd10",))
    evidence = audit(classifier, images, alone, path=tmp_path / "b", device="cpu")
    assert evidence.header.precision == "", "PGD-10 searches in float32 whatever is asked for"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_every_break_is_verified_and_a_forged_one_is_not(tmp_path, classifier, images, norm):
    path = tmp_path / "a"
    evidence = audit(
        classifier, images, plan(threat=ThreatModel(norm, 0.2 if norm == "Linf" else 1.0)), path=path
    )
    broken = sum(int((record.outcome == Outcome.BROKEN).sum()) for record in evidence.attacks.values())
    result = verify(path, classifier)
    assert broken > 50
    assert (result.witnesses, result.failures) == (broken, ())
    with editing(path) as db:  # claim that an example is broken by its own clean image
        row = db.execute("SELECT attack, id FROM outcomes WHERE outcome = 1").fetchone()
        still = np.zeros((1, 8, 8), np.float32)
        blob = encode_witness(still, still, ThreatModel("Linf", 0.2), 127)
        db.execute("UPDATE outcomes SET witness = ? WHERE attack = ? AND id = ?", (blob, *row))
    assert verify(path, classifier).failures == (
        f"{title(row[0])} on example {row[1]}: the model classifies it correctly",
    )


def test_a_witness_outside_the_ball_does_not_verify(tmp_path, classifier, images):
    path = tmp_path / "a"
    audit(classifier, images, plan(threat=ThreatModel("Linf", 0.2)), path=path)
    with editing(path) as db:
        text = db.execute("SELECT value FROM header WHERE key = 'plan'").fetchone()[0]
        db.execute(
            "UPDATE header SET value = ? WHERE key = 'plan'", (text.replace('"eps": 0.2', '"eps": 0.01'),)
        )
        # Only the form that keeps its own float values can leave the ball; the coded ones are sealed again.
        row = db.execute("SELECT attack, id FROM outcomes WHERE outcome = 1").fetchone()
        far = np.ones((1, 8, 8), np.float32)
        blob = encode_witness(far, far, ThreatModel("Linf", 0.2), 0)
        db.execute("UPDATE outcomes SET witness = ? WHERE attack = ? AND id = ?", (blob, *row))
    assert any("outside the ball" in line for line in verify(path, classifier).failures)


def test_another_model_is_refused(tmp_path, classifier, images):
    path = tmp_path / "a"
    audit(classifier, images, plan(attacks=("pgd10",)), path=path)
    with pytest.raises(RobauditError, match="not the model of this evidence"):
        verify(path, load_classifier(str(DISTILLED)))


def test_an_audit_that_is_run_again_does_nothing_twice(tmp_path, classifier, images):
    first = audit(classifier, images, plan(), path=tmp_path / "a")
    started = time.monotonic()
    second = audit(classifier, images, plan(), path=tmp_path / "a")
    assert outcomes(first) == outcomes(second)
    assert time.monotonic() - started < 5


def test_the_same_seed_gives_the_same_outcomes_whatever_the_slots(tmp_path, classifier, images, monkeypatch):
    found = []
    for slots in (7, 64, 500):
        monkeypatch.setattr("robaudit.audit.session.tune", lambda *_, slots=slots, **__: Tuning(slots, 1))
        found.append(outcomes(audit(classifier, images, plan(), path=tmp_path / str(slots))))
    for name, (outcome, _) in found[0].items():
        for other in found[1:]:  # one example of 60 in all may tip over by rounding
            assert sum(a != b for a, b in zip(outcome, other[name][0], strict=True)) <= 1


def test_auto_stops_early_on_a_masked_model_and_all_does_not(tmp_path):
    model, images = load_classifier(str(DISTILLED)), load_images("digits", limit=200, seed=0)
    auto = audit(
        model, images, plan(examples="auto", budget=replace(SMALL, square_queries=400)), path=tmp_path / "a"
    )
    assert judge(auto).outcome == "overestimated"
    assert len(auto) < 200
    assert {"black-box-beats-white-box", "vanishing-gradients"} <= {item.code for item in judge(auto).causes}


class _Noisy(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] + 0.3 * torch.randn(len(x), 10)


class _Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x.flatten(1)[:, :10] * (1 + self.calls)


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (_Noisy(), "randomised-output"),
        (_Counting(), "stateful-output"),
        (Wrapped(lambda x: x.flatten(1)[:, :10] - x.flatten(1)[:, :10].mean(0)), "batch-dependent-output"),
        (Wrapped(lambda x: x.flatten(1)[:, 20:30].softmax(1)), "probabilities"),
        (Wrapped(lambda x: x.flatten(1)[:, 20:30] / (x[:, 0, 0, :1] * 0)), "nonfinite-output"),
        (Wrapped(lambda x: x.flatten(1)[:, :10] * 0 + torch.arange(10.0)), "near-chance"),
    ],
)
def test_preflight_finds(model, code, images):
    assert code in {item.code for item in preflight(model, images, CPU)}


def test_preflight_is_silent_on_an_honest_model(classifier, images):
    assert preflight(classifier, images, CPU) == ()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Wrapped(lambda x: x.flatten(1)[:, :7]), "7 classes and digits has 10"),
        (Wrapped(lambda x: x), "not \\(examples, classes\\)"),
        (Wrapped(lambda x: x.flatten(1)[:, :1]), "one output"),
        (nn.Conv2d(3, 10, 3), "does not take images of shape \\(1, 8, 8\\)"),
    ],
)
def test_preflight_refuses(model, words, images):
    with pytest.raises(RobauditError, match=words):
        preflight(model, images, CPU)


def test_a_blocking_finding_stops_the_audit_before_anything_is_written(tmp_path, classifier, images):
    broken = Classifier(_Noisy(), parse_normalisation("none", 1), classifier.info)
    with pytest.raises(RobauditError, match="differ by"):
        audit(broken, images, plan(), path=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_forced_past_a_blocking_finding_nothing_is_decided(tmp_path, images):
    chance = Wrapped(lambda x: x.flatten(1)[:, :10] * 0 + torch.arange(10.0))
    model = Classifier(chance, parse_normalisation("none", 1), load_classifier(str(ADVERSARIAL)).info)
    evidence = audit(model, images, plan(), path=tmp_path / "a", force=True)
    assert judge(evidence).outcome == "inconclusive"


def test_the_global_generator_is_not_touched(tmp_path, classifier, images):
    before = torch.get_rng_state()
    audit(classifier, images, plan(), path=tmp_path / "a")
    assert torch.equal(before, torch.get_rng_state())


def test_a_resumed_audit_keeps_to_the_predictions_it_recorded(tmp_path, classifier, images):
    """On another device rounding may tip a near-tie; that example must not stop the count for good."""
    path = tmp_path / "a"
    audit(classifier, images, plan(attacks=("pgd10",)), path=path)
    with editing(path) as db:
        db.execute("UPDATE examples SET prediction = (label + 1) % 10 WHERE position = 5")
        db.execute("DELETE FROM outcomes")
    evidence = audit(classifier, images, plan(attacks=("pgd10",)), path=path)
    assert not evidence.correct[5]
    assert evidence.known("pgd10").all()


def test_a_randomised_model_can_be_forced_and_nothing_is_decided(tmp_path, classifier, images):
    class Noise(nn.Module):
        def forward(self, x):
            z = classifier.network(x)
            return z + 3 * z.std() * torch.randn_like(z)

    model = Classifier(Noise(), parse_normalisation("none", 1), classifier.info)
    evidence = audit(model, images, plan(), path=tmp_path / "a", force=True)
    assert len(evidence) == 60
    assert judge(evidence).outcome == "inconclusive"


def test_the_reference_engine_leaves_the_global_generator_alone(tmp_path, classifier):
    few = load_images("digits", limit=4, seed=1)
    before = torch.get_rng_state()
    evidence = audit(classifier, few, plan(attacks=("apgd-ce",), engine="reference"), path=tmp_path / "a")
    assert torch.equal(before, torch.get_rng_state())
    assert (evidence.attacks["apgd-ce"].outcome[evidence.correct] != Outcome.NOT_RUN).all()


def test_what_the_reference_broke_is_no_survivor_because_it_tries_longer_than_the_plan(tmp_path, classifier):
    """It does so whatever a file's plan says, in the file as when it is asked again."""
    path, split = tmp_path / "a", load_images("digits", seed=1)
    wide = plan(attacks=("apgd-ce",), engine="reference", threat=ThreatModel("Linf", 0.3), limit=16)
    evidence = audit(classifier, split.subset(16, 1), replace(wide, seed=1), path=path)
    assert evidence.broken("apgd-ce").sum() > 4
    with editing(path) as db:
        db.execute("UPDATE outcomes SET outcome = 0, steps = 0, witness = NULL")
        db.execute("DELETE FROM images")
        db.execute("DELETE FROM answers")
    found = verify(path, classifier, images=split, again=Recompute(100, 1)).failures
    assert any("do not come out as the file says" in text for text in found), found


@pytest.mark.parametrize("queries", [60, 150])
def test_an_audit_that_stopped_early_is_verified_however_few_queries_square_has(tmp_path, queries):
    split, model = load_images("digits", seed=1), load_classifier(str(DISTILLED))
    short = plan(examples="auto", seed=1, budget=replace(SMALL, square_queries=queries))
    evidence = audit(model, split, short, path=tmp_path / "a")
    assert evidence.survives("pgd10").any()
    assert evidence.open("autoattack").any()
    assert verify(tmp_path / "a", model, images=split, again=Recompute(4, 1)).failures == ()
