"""`robaudit.AutoAttack` in scripts that were written for the reference, and what it refuses."""

import copy
import importlib.util
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robaudit
from robaudit import AutoAttack, RobauditError
from robaudit.cli import run
from robaudit.engine import tuning
from robaudit.evidence import EvidenceFile, inside
from robaudit.inputs import load_images
from robaudit.plan import ThreatModel
from tests.evidence.edits import editing
from tests.models import Wrapped, cnn
from tests.shipped import DISTILLED

EPS = 0.06


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tuning, "_PATIENCE", 0.02)


@pytest.fixture(scope="module")
def case():
    """A model, images and labels, two of them wrong to begin with."""
    model = cnn(classes=4)
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    y[:2] = (y[:2] + 1) % 4
    return model, x, y


def short(model, **settings):
    attack = AutoAttack(model, eps=EPS, verbose=False, **settings)
    attack.square.n_queries = 60
    for part in (attack.apgd, attack.apgd_targeted, attack.fab):
        part.n_iter = 12
    return attack


def test_the_result_is_that_of_a_cascade(case, tmp_path):
    model, x, y = case
    attack = short(model, log_path=tmp_path / "log.txt")
    x_adv, y_adv = attack.run_standard_evaluation(x, y, bs=7, return_labels=True)
    assert torch.equal(model(x_adv).argmax(1), y_adv)
    assert inside(x_adv.numpy(), x.numpy(), ThreatModel("Linf", EPS)).all()
    assert torch.equal(x_adv[:2], x[:2]), "what is wrong to begin with is left as it is"
    assert 0 < attack.clean_accuracy(x_adv, y) < attack.clean_accuracy(x, y) == 22 / 24
    log = (tmp_path / "log.txt").read_text()
    assert f"robaust accuracy: {attack.clean_accuracy(x_adv, y):.2%}".replace("robaust", "robust") in log
    alone = attack.run_standard_evaluation_individual(x, y, bs=50)
    assert list(alone) == attack.attacks_to_run
    left = torch.stack([model(alone[name]).argmax(1) == y for name in alone])
    assert torch.equal(left.all(0), y_adv == y), "the worst case of each alone is the cascade's"


def test_an_example_leaves_when_one_attack_has_broken_it(case, tmp_path):
    model, x, y = case
    short(model).run_standard_evaluation(x, y, state_path=tmp_path / "state")
    with EvidenceFile.open(tmp_path / "state") as file:
        found = file.read()
    gone = torch.zeros(len(y), dtype=torch.bool).numpy()
    for name in found.header.plan.members:
        assert not (gone & (found.attacks[name].outcome != 3)).any(), name
        gone |= found.broken(name)
    assert found.known("autoattack").all()


def test_a_state_is_resumed(case, tmp_path, monkeypatch):
    model, x, y = case
    state = tmp_path / "state"
    whole = short(model).run_standard_evaluation(x, y)
    from robaudit.audit import session

    real = session.Session.attack

    def stop(self, name, places):
        if name == "square":
            raise KeyboardInterrupt
        real(self, name, places)

    monkeypatch.setattr(session.Session, "attack", stop)
    with pytest.raises(KeyboardInterrupt):
        short(model).run_standard_evaluation(x, y, state_path=state)
    ran = []
    monkeypatch.setattr(
        session.Session, "attack", lambda self, name, p: (ran.append((name, len(p))), real(self, name, p))
    )
    again = short(model).run_standard_evaluation(x, y, state_path=str(state))
    assert torch.equal(model(again).argmax(1), model(whole).argmax(1))
    assert [count for name, count in ran if name.startswith("apgd")] == [0, 0], "done before, not again"
    with pytest.raises(RobauditError, match="another plan"):
        AutoAttack(model, eps=EPS / 2, verbose=False).run_standard_evaluation(x, y, state_path=state)
    with editing(state) as db:  # a stranger's: its breaks would go to other places of the result
        for table in ("examples", "outcomes", "images", "answers", "metrics"):
            db.execute(f"UPDATE {table} SET id = id + 1000")
    with pytest.raises(RobauditError, match="other examples than these"):
        short(model).run_standard_evaluation(x, y, state_path=state)


def test_verify_says_that_a_state_is_of_no_named_data_set(tmp_path, capsys):
    state, model = str(tmp_path / "state.evidence"), str(DISTILLED)
    digits = load_images("digits", limit=12)
    short(robaudit.load(model), version="custom", attacks_to_run=["apgd-ce"]).run_standard_evaluation(
        digits.float(), digits.labels, state_path=state
    )
    assert run(["verify", state, model]) == 3
    assert run(["verify", state, model, "--dataset", "digits"]) == 2
    assert "dataset digits: the evidence is about images that a script gave" in capsys.readouterr().err


def test_both_packages_ways_to_take_the_result(case):
    model, x, y = case
    attack = short(model, version="custom", attacks_to_run=["apgd-ce"])
    assert type(attack.run_standard_evaluation(x, y, bs=8)) is torch.Tensor
    with torch.no_grad():
        both = attack.run_standard_evaluation(x, y, batch_size=8)
    x_adv, y_adv = both
    assert both.shape == x.shape
    assert torch.equal(both - x, x_adv - x)
    assert torch.equal(model(both).argmax(1), y_adv)
    x_adv, y_adv = attack.run_standard_evaluation_individual(x, y, batch_size=8)["apgd-ce"]
    assert torch.equal(model(x_adv).argmax(1), y_adv)


def test_a_call_without_a_batch_size_serves_both_packages(case):
    model, x, y = case
    ours = short(model, version="custom", attacks_to_run=["apgd-ce"])
    found = ours.run_standard_evaluation(x[:2], y[:2])
    x_adv, y_adv = found
    assert torch.equal(model(x_adv).argmax(1), y_adv)
    assert len(list(found)) == len([*zip(found, y, strict=False)]) == 2
    assert all(torch.equal(one, other) for one, other in zip(found, x_adv, strict=True))
    assert type(copy.deepcopy(found)) is torch.Tensor
    theirs = short(model, version="custom", attacks=["apgd-ce"])
    x_adv, y_adv = theirs.run_standard_evaluation_individual(x, y)["apgd-ce"]
    assert x_adv.shape == x.shape
    assert y_adv.shape == y.shape


def test_what_hides_gradients_is_said_in_the_log(case, capsys):
    model, x, y = case
    hidden = AutoAttack(lambda x: model(x.detach()), eps=0.3)
    hidden.apgd.n_iter = hidden.apgd_targeted.n_iter = hidden.fab.n_iter = 2
    hidden.square.n_queries = 100
    hidden.run_standard_evaluation(x, y)
    said = capsys.readouterr().out
    assert f"warning: {len(x)} of the first {len(x)} images have a gradient of exactly zero" in said
    assert "warning: Square broke " in said
    honest = AutoAttack(model, eps=0.3, version="custom", attacks_to_run=["apgd-ce", "square"])
    honest.run_standard_evaluation(x, y)
    assert "warning" not in capsys.readouterr().out


def test_labels_and_images_of_other_kinds(case):
    model, x, y = case
    attack = AutoAttack(model, eps="0.3", version="custom", attacks_to_run=["apgd-ce"], verbose=False)
    usual = attack.run_standard_evaluation(x, y, bs=8)
    for labels in (y.tolist(), y.numpy()):
        assert torch.equal(attack.run_standard_evaluation(x, labels, bs=8), usual)
    coarse = x.bfloat16()
    found = attack.run_standard_evaluation(coarse, y, bs=8)
    assert found.dtype == torch.float32
    assert float((found - coarse.float()).abs().max()) <= np.float32(0.3)


def test_names_of_the_references_class(case):
    model, x, _ = case
    attack = AutoAttack(model, eps=0.1, seed=3, verbose=False)
    attack.epsilon, attack.norm = 0.2, "L2"
    attack.set_version("rand")
    assert (attack.norm, attack.epsilon, attack.get_seed(), attack.apgd.eot_iter) == ("L2", 0.2, 3, 20)
    assert torch.equal(attack.get_logits(x), model(x))


def test_the_references_own_example(monkeypatch, tmp_path):
    """`examples/eval.py` of pyautoattack with its import changed, on a small network and few images."""
    package = Path(importlib.util.find_spec("pyautoattack").origin).parent
    script = (package / "examples" / "eval.py").read_text(encoding="utf-8")
    changed = script.replace("from pyautoattack import AutoAttack", "from robaudit import AutoAttack")
    assert changed != script
    (tmp_path / "eval.py").write_text(changed)
    model = cnn(channels=3)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    resnet = types.ModuleType("resnet")
    resnet.ResNet18 = lambda: cnn(channels=3, seed=1)
    monkeypatch.setitem(sys.modules, "resnet", resnet)
    monkeypatch.setattr(nn.Module, "cuda", lambda self: self)
    x = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = list(zip(x, model(x).argmax(1).tolist(), strict=True))
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda **_: pairs)
    flags = [
        "--epsilon",
        "0.3",
        "--model",
        f"{tmp_path}/model.pt",
        "--n_ex",
        "6",
        "--save_dir",
        f"{tmp_path}/out",
    ]
    flags += [
        "--log_path",
        f"{tmp_path}/log",
        "--version",
        "custom",
    ]
    monkeypatch.setattr(sys, "argv", ["eval.py", *flags])
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(tmp_path / "eval.py"), run_name="__main__")
    (saved,) = (tmp_path / "out").iterdir()
    found = torch.load(saved)
    x_adv = found["adv_complete"]
    assert x_adv.shape == (6, 3, 8, 8)
    assert not bool((model(x_adv).argmax(1) == model(x[:6]).argmax(1)).all())


def test_a_robustbench_style_benchmark(case):
    model, x, y = case

    def clean_accuracy(model, x, y, batch_size=100):
        parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return sum(float((model(a).argmax(1) == b).sum()) for a, b in parts) / len(x)

    def benchmark(model, x, y, norm, eps, device):
        model = model.to(device).eval()
        adversary = robaudit.AutoAttack(
            model, norm=norm, eps=eps, version="custom", device=device, log_path=None
        )
        adversary.attacks_to_run = ["apgd-ce", "apgd-t"]
        adversary.apgd_targeted.n_iter = 10
        x_adv = adversary.run_standard_evaluation(x, y, bs=10, state_path=None)
        return clean_accuracy(model, x, y), clean_accuracy(model, x_adv, y)

    clean, robust = benchmark(model, x, y, "L2", 0.3, torch.device("cpu"))
    assert robust < clean == 22 / 24


def dropout(x):
    return nn.functional.dropout(x.flatten(1)[:, :4], 0.5, training=True)


BAD = [
    (cnn(classes=4), lambda x: x * 2, None, {}, r"x: images run from .*; expected \[0, 1\]"),
    (cnn(classes=4), lambda x: x * 2 - 1, None, {}, r"expected \[0, 1\]"),
    (cnn(classes=4), lambda x: (x * 255).byte(), None, {}, r"x: images are uint8; .* x.float\(\) / 255"),
    (cnn(classes=4), lambda x: (x * 255).long(), None, {}, "x: images are int64"),
    (cnn(classes=4), lambda x: x[0], None, {}, r"expected \(N, C, H, W\)"),
    (cnn(classes=4), lambda x: x * float("nan"), None, {}, "NaN"),
    (cnn(classes=4), None, lambda y: y + 4, {}, "labels run up to"),
    (cnn(classes=4), None, lambda y: y - 1, {}, "labels go down to -1"),
    (cnn(classes=4), None, lambda y: y.float(), {}, "labels are float32"),
    (cnn(classes=4), None, lambda y: y[:3], {}, "24 images but labels"),
    (Wrapped(lambda x: x.flatten(1)[:, :4].softmax(1)), None, None, {}, "probabilities"),
    (Wrapped(dropout), None, None, {}, "version='rand'"),
    (cnn(classes=4), None, None, {"bs": 0}, "bs 0"),
    (cnn(classes=4), None, None, {"bs": 2.5}, "bs 2.5: must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "images", "labels", "more", "message"), BAD)
def test_what_the_reference_gets_wrong_in_silence(case, model, images, labels, more, message):
    _, x, y = case
    x, y = images(x) if images else x, labels(y) if labels else y
    with pytest.raises(RobauditError, match=message):
        short(model).run_standard_evaluation(x, y, **more)


def test_a_model_in_training_mode_is_refused_and_left_as_it_is(case):
    _, x, y = case
    model = cnn(classes=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RobauditError, match=r"is in training mode .* call model.eval\(\)"):
        short(model).run_standard_evaluation(x, y)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    wrapper = nn.Sequential(cnn(classes=4)).train()
    wrapper[0].eval()  # only the wrapper forgot, which changes nothing
    short(wrapper, version="custom", attacks_to_run=["apgd-ce"]).run_standard_evaluation(x, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "L3"}, "norm 'L3'"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"version": "fast"}, "version 'fast' is not known"),
        ({"eps": [0.1]}, r"eps \[0.1\] is not a number"),
        ({"seed": 1.5}, "seed 1.5 must be a whole number"),
        ({"attacks_to_run": ["apgd-ce"]}, "version='custom'"),
        ({"is_tf_model": True}, "PyTorch"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoAttack(cnn(), **settings)


def test_unknown_attacks_and_settings_are_refused(case):
    model, x, y = case
    attack = AutoAttack(model, version="custom", attacks_to_run=["pgd"], verbose=False)
    with pytest.raises(ValueError, match="attack 'pgd' is not known"):
        attack.run_standard_evaluation(x, y)
    with pytest.raises(AttributeError):
        attack.apgd.rho = 0.9  # never without effect in silence


def test_the_versions_are_the_references():
    import pyautoattack

    for norm in ("Linf", "L1"):
        for version in ("standard", "plus", "rand"):
            theirs = pyautoattack.AutoAttack(cnn(), norm=norm, eps=0.1, version=version)
            ours = AutoAttack(cnn(), norm=norm, eps=0.1, version=version, verbose=False)
            assert set(ours.attacks_to_run) == set(theirs.attacks_to_run)
            assert ours.apgd.eot_iter == theirs.apgd.eot_iter
            assert ours.apgd.n_restarts == theirs.apgd.n_restarts
            if "apgd-t" in ours.attacks_to_run:
                assert ours.apgd_targeted.n_target_classes == theirs.apgd_targeted.n_target_classes
            if "fab" in ours.attacks_to_run:
                assert ours.fab.n_restarts == theirs.fab.n_restarts


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 8 / 255), ("L1", 12.0)])
def test_at_least_as_strong_as_the_reference_and_faster(models_dir, data_dir, norm, eps):
    """On the same images of CIFAR-10, in one run; by the processor's time, for others may work beside it."""
    import time

    import pyautoattack

    images = robaudit.inputs.load_images("cifar10", data_dir=data_dir, limit=16, seed=0)
    model = robaudit.inputs.load_classifier(str(models_dir / "cifar10_cnn6_pgd.pth"), images=images)
    x, y = images.float(), images.labels
    began = time.process_time()
    x_adv = AutoAttack(model, norm=norm, eps=eps).run_standard_evaluation(x, y, bs=250)
    ours, began = time.process_time() - began, time.process_time()
    theirs = pyautoattack.AutoAttack(model, norm=norm, eps=eps, seed=0, device="cpu")
    _, y_adv = theirs.run_standard_evaluation(x, y, batch_size=250)
    assert int((model(x_adv).argmax(1) == y).sum()) <= int((y_adv == y).sum())
    assert ours < time.process_time() - began
