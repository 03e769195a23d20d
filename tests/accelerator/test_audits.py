"""An audit on an accelerator gives what it gives on the CPU; what goes wrong there is one clear line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robaudit.attacks import ATTACKS, Examples
from robaudit.audit import Window, audit, measure_landscape, verify
from robaudit.engine import Engine, tune
from robaudit.errors import RobauditError
from robaudit.evidence import EvidenceFile
from robaudit.fast import search_model
from robaudit.fast.graphs import GRAPHS
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from tests.accelerator.pretend import DEVICE, NAME, PretendGraph, pretending
from tests.models import cnn
from tests.shipped import ADVERSARIAL

CPU = torch.device("cpu")
BUDGET = Budget(apgd_steps=8, fab_steps=5, square_queries=40, targets=2)
EPS = {"Linf": 0.05, "L2": 0.4}


@pytest.fixture
def graphs(monkeypatch):
    """The device records graphs."""
    monkeypatch.setitem(GRAPHS, NAME, PretendGraph)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=24, seed=1)


@pytest.fixture
def classifier():
    return load_classifier(str(ADVERSARIAL))


def attacked(name, norm, device, slots=16, threads=1):
    """Of 30 inputs: outcome, steps, witnesses; and how often an engine's step waited."""
    threat = ThreatModel(norm, EPS[norm])
    strict = cnn(seed=4).to(device)
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = strict(x.to(device)).cpu()
    examples = Examples(x, logits.argmax(1), torch.arange(len(x)), logits)
    search = search_model(strict, device, "fp32", x[:4])
    found = {}

    def retire(group):
        for place, row in enumerate(group.rows.tolist()):
            witness = group.witness[place] if len(group.witness) else None
            found[row] = (int(group.outcome[place]), int(group.steps[place]), witness)

    engine = Engine(search, strict, threat, slots, device)
    engine.run(ATTACKS[name](AuditPlan(threat, budget=BUDGET)), examples, retire)
    return [found[row] for row in range(len(x))]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_gives_what_it_gives_on_the_cpu(name, norm):
    expected = attacked(name, norm, CPU)
    with pretending():
        found = attacked(name, norm, DEVICE)
    assert [item[0] for item in found] == [item[0] for item in expected]
    assert [item[1] for item in found] == [item[1] for item in expected]
    assert len({item[0] for item in expected}) == 2, "the test wants breaks and survivals"
    for (_, _, one), (_, _, other) in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-3)


def test_recorded_graphs_and_a_device_without_float64_change_nothing(graphs):
    for name, norms in (("apgd-t", ["Linf"]), ("square", ["L2"]), ("fab-t", ["L2"])):
        for norm in norms:
            expected = attacked(name, norm, CPU)
            with pretending(float64=False):
                found = attacked(name, norm, DEVICE)
            assert [item[:2] for item in found] == [item[:2] for item in expected], (name, norm)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_no_attack_waits_for_the_device_within_a_step(name):
    x = torch.rand(6, 1, 8, 8)
    for norm, eps in EPS.items():
        with pretending() as machine:
            model = search_model(cnn(), DEVICE, "fp32", x)
            logits = model(x.to(DEVICE))
            examples = Examples(x.to(DEVICE), logits.argmax(1), torch.arange(6).to(DEVICE), logits)
            attack = ATTACKS[name](AuditPlan(ThreatModel(norm, eps), budget=BUDGET))
            state = attack.step(model, attack.start(examples, torch.zeros(6, dtype=torch.int64).to(DEVICE)))
            machine.waits = 0
            for _ in range(3):
                state = attack.step(model, state, attack.tries)
            assert machine.waits == 0, (name, norm)


def test_the_engine_fetches_once_a_step():
    """And once in eight steps at most for what fooled the search."""
    x = torch.rand(8, 1, 8, 8)
    with pretending() as machine:
        strict = cnn().to(DEVICE)
        logits = strict(x.to(DEVICE)).cpu()
        model, steps = search_model(strict, DEVICE, "fp32", x[:4]), []

        def counted(points):
            steps.append(1)
            return model(points)

        plan = AuditPlan(ThreatModel("Linf", 1e-4), budget=replace(BUDGET, square_queries=50))
        engine = Engine(counted, strict, plan.threat, 8, DEVICE)
        machine.waits = 0
        engine.run(
            ATTACKS["square"](plan), Examples(x, logits.argmax(1), torch.arange(8), logits), lambda _: None
        )
    assert machine.waits <= len(steps) + 1, "the flags, and what is handed over at the end"


@pytest.mark.parametrize("form", ["eager", "graphs", "no float64", "averaged"])
def test_a_whole_audit_gives_what_it_gives_on_the_cpu(tmp_path, classifier, images, form, monkeypatch):
    if form == "graphs":
        monkeypatch.setitem(GRAPHS, NAME, PretendGraph)
    plan = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=BUDGET)
    if form == "averaged":
        images = images.subset(6, 0)
        plan = replace(plan, eot=2, attacks=("pgd10", "square"), budget=replace(BUDGET, square_queries=10))
        classifier.network = nn.Sequential(classifier.network, nn.Dropout(0.05))
        classifier.network[1].train()
        monkeypatch.setattr(
            nn.Dropout, "train", lambda self, mode=True: self
        )  # random in evaluation mode too
    expected = audit(classifier, images, plan, path=tmp_path / "cpu")
    with pretending(float64=form != "no float64"):
        found = audit(classifier, images, plan, path=tmp_path / "there", device=NAME)
        assert verify(tmp_path / "cpu", classifier, NAME).failures == ()
        classifier.to("cpu")
    assert verify(tmp_path / "there", classifier).failures == ()
    assert found.header.device == f"{NAME} (Pretend 1)"
    assert found.predictions.tolist() == expected.predictions.tolist()
    for name, record in expected.attacks.items():
        assert found.attacks[name].outcome.tolist() == record.outcome.tolist(), name
    for metric in ("fosc", "fosc_normalised", "sgcs"):
        assert np.allclose(getattr(found, metric), getattr(expected, metric), rtol=1e-2, atol=1e-3), metric
    probes = found.header.probes
    assert set(probes) == set(expected.header.probes)
    assert all(abs(value - expected.header.probes[key]) < 0.05 for key, value in probes.items())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_an_accelerator(classifier, images, precision):
    """The first convolution sees the input, and the last layer gives the logits, in float32."""
    x = images.float()[:16]
    with torch.no_grad():
        expected = classifier(x)
    with pretending():
        search = search_model(classifier, DEVICE, precision, x[:4].to(DEVICE))
        found = search(x.to(DEVICE)).cpu()
        assert search.precision == precision
        assert torch.allclose(search.exact(x.to(DEVICE)).cpu(), expected, atol=1e-4)
        layers = [module for module in search.network.modules() if hasattr(module, "out_dtype")]
    assert found.dtype == torch.float32
    spread = (expected.amax(1) - expected.amin(1))[:, None]
    assert 0 < float(((found - expected).abs() / spread).max()) < 0.02
    assert layers[0].dtype == torch.float32
    assert layers[-1].out_dtype == torch.float32
    assert layers[-1].dtype != torch.float32


def test_auto_takes_what_any_accelerator_can(classifier, images):
    with pretending():
        assert search_model(classifier, DEVICE, "auto", images.float()[:4].to(DEVICE)).precision == "fp32"


def test_a_landscape(classifier, images):
    threat, few = ThreatModel("Linf", 0.1), images.subset(2, 0)
    expected = measure_landscape(classifier, few, threat, window=Window(points=21, exact=True))
    for float64 in (True, False):
        with pretending(float64=float64):
            found = measure_landscape(classifier, few, threat, window=Window(points=21), device=NAME)
            classifier.to("cpu")
        assert found.computed.all()
        assert np.allclose(found.loss, expected.loss, atol=1e-4)
        assert found.predictions.tolist() == expected.predictions.tolist()


@pytest.mark.parametrize("memory", [132_000, 300_000])
def test_memory_that_runs_out_anywhere_halves_what_is_done_at_once(tmp_path, classifier, images, memory):
    plan = AuditPlan(
        ThreatModel("Linf", 0.1), attacks=("pgd10", "fab-t", "square"), examples="all", budget=BUDGET
    )
    expected = audit(classifier, images, plan, path=tmp_path / "cpu")
    with pretending(memory=memory):
        found = audit(classifier, images, plan, path=tmp_path / "there", device=NAME)
        assert verify(tmp_path / "there", classifier, NAME).failures == ()
        measure_landscape(classifier, images.subset(2, 0), plan.threat, window=Window(points=21), device=NAME)
    for name, record in expected.attacks.items():
        assert found.attacks[name].outcome.tolist() == record.outcome.tolist(), name


def test_too_little_memory_for_one_example_is_one_line(tmp_path, classifier, images):
    plan = AuditPlan(ThreatModel("Linf", 0.1), budget=BUDGET)
    classifier.network = nn.Sequential(
        nn.Upsample(scale_factor=8), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10)
    )
    with pretending(memory=10_000), pytest.raises(RobauditError, match="memory does not hold one example"):
        audit(classifier, images, plan, path=tmp_path / "there", device=NAME)


def test_a_device_that_fails_in_the_middle_leaves_what_was_finished_and_the_cpu_resumes(
    tmp_path, classifier, images, monkeypatch
):
    monkeypatch.setattr("robaudit.audit.recorder._WAITING_ROWS", 1)
    plan = AuditPlan(ThreatModel("Linf", 0.1), examples="all", budget=BUDGET)
    expected = audit(classifier, images, plan, path=tmp_path / "cpu")
    with pretending() as machine:
        audit(classifier, images, plan, path=tmp_path / "whole", device=NAME)
        operations = machine.operations
    path = tmp_path / "there"
    with pretending(fails_after=operations * 9 // 10) as machine:
        with pytest.raises(RobauditError, match=r"device 'pretend' failed .*--device cpu") as raised:
            audit(classifier, images, plan, path=path, device=NAME)
        assert "\n" not in str(raised.value)
        machine.fails_after = float("inf")
        classifier.to("cpu")
    with EvidenceFile.open(path) as file:
        assert sum(map(len, file.rows())) > len(images), "what was finished is kept"
    resumed = audit(classifier, images, plan, path=path)
    for name, record in expected.attacks.items():
        assert resumed.attacks[name].outcome.tolist() == record.outcome.tolist(), name
    assert verify(path, classifier).failures == ()


def test_more_slots_than_memory_holds_at_first(tmp_path, classifier, images):
    """The probe of sizes begins small: where not even its first size fitted, every step held one example."""
    with pretending(memory=200_000):
        assert 1 < tune(classifier.to(NAME), images.float()[:1].to(DEVICE)).slots < 256
