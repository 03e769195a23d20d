"""`robaudit.check` gives what the command gives, from whatever holds the model and the images."""

import copy
import json
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

import robaudit
from robaudit.audit import verify
from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier, load_images
from tests.api.digits import SHORT, Pairs, digits, outcomes
from tests.models import Wrapped, cnn, two_class_linear
from tests.shipped import ADVERSARIAL, DISTILLED


def test_a_linear_model_is_judged_as_its_closed_form_says():
    """Linf: robust exactly where the margin exceeds eps times the L1 norm of the weights' difference."""
    linear = two_class_linear(size=12)
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(60, 3, 2, 2, generator=generator)
    labels = linear(x).argmax(1)
    weight = linear.weight[1] - linear.weight[0]
    margin = (linear(x)[:, 1] - linear(x)[:, 0]).abs()
    robust = margin > 0.05 * weight.abs().sum()
    assert 5 < int(robust.sum()) < 55
    result = robaudit.check(linear, x, labels, eps=0.05, examples="all", square_queries=50, fab_steps=5)
    survives = result.evidence.survives("autoattack")
    assert survives.tolist() == robust[result.evidence.ids].tolist()
    assert result.accuracy["autoattack"].value == pytest.approx(float(robust.float().mean()))
    found = result.adversarial
    assert sorted(found.ids.tolist()) == (~robust).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    "form",
    ["floats", "doubles", "bytes", "bytes-last", "bytes-first", "list", "one-hot", "dataset", "pictures", "loader",
     "shuffled", "custom-loader", "stream"],
)  # fmt: skip
def test_every_form_of_the_same_images_gives_the_same_outcomes(model, plain, form):
    pixels, labels = digits()
    given = {
        "floats": (np.float32(pixels[:, None] / 255), labels),
        "doubles": (torch.from_numpy(pixels[:, None] / 255), torch.from_numpy(labels).int()),
        "bytes": (pixels, labels),
        "bytes-last": (pixels[..., None], labels),
        "bytes-first": (torch.from_numpy(pixels).unsqueeze(1), labels),
        "list": (pixels, labels.tolist()),
        "one-hot": (pixels, np.eye(10)[labels]),
        "dataset": (Pairs(),),
        "pictures": (Pairs(bytes_too=True),),
        "loader": (DataLoader(Pairs(), batch_size=7, drop_last=True),),
        "shuffled": (DataLoader(Pairs(), batch_size=7, shuffle=True),),
        "custom-loader": (DataLoader(Pairs(), batch_sampler=[range(0, 25), range(25, 40)]),),
        "stream": (Stream(),),
    }[form]
    result = robaudit.check(model, *given, eps=0.1, **SHORT)
    assert outcomes(result) == outcomes(plain)
    assert result.evidence.header.data["sha256"] == plain.evidence.header.data["sha256"]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pairs()[row] for row in range(40))


def test_a_file_gives_what_the_command_gives(tmp_path):
    pixels, labels = digits()
    np.savez(tmp_path / "data.npz", images=pixels, labels=labels)
    flags = [word for name, value in SHORT.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    flags += ["--eps", "0.1", "--evidence", str(tmp_path / "command"), "--json", str(tmp_path / "json")]
    code = run(["check", str(DISTILLED), "--dataset", str(tmp_path / "data.npz"), *flags])
    result = robaudit.check(
        str(DISTILLED), tmp_path / "data.npz", eps="0.1", evidence=tmp_path / "python", **SHORT
    )
    command = json.loads((tmp_path / "json").read_text())
    aside = ("cost",)
    mine = result.to_dict()
    assert {k: v for k, v in mine.items() if k not in aside} == {
        k: v for k, v in command.items() if k not in aside
    }
    assert {0: "not-overestimated", 1: "overestimated", 3: "inconclusive"}[code] == result.verdict.outcome


def test_a_path_a_module_and_a_loaded_model_give_the_same_outcomes(model, plain, tmp_path):
    pixels, labels = digits()
    by_path = robaudit.check(DISTILLED, pixels, labels, eps=0.1, evidence=tmp_path / "a", **SHORT)
    loaded = robaudit.load(DISTILLED)
    by_load = robaudit.check(loaded, pixels, labels, eps=0.1, evidence=tmp_path / "b", **SHORT)
    assert outcomes(by_path) == outcomes(by_load) == outcomes(plain)
    assert plain.evidence.header.model["classes"] == by_path.evidence.header.model["classes"] == 10
    # What was loaded and not changed is the file; so others can re-check its evidence.
    assert by_load.evidence.header.model["sha256"] == by_path.evidence.header.model["sha256"]
    assert not verify(tmp_path / "b", load_classifier(str(DISTILLED))).failures
    with torch.no_grad():
        next(loaded.parameters()).mul_(1.01)
    changed = robaudit.check(loaded, pixels, labels, eps=0.1, limit=10, **SHORT)
    assert changed.evidence.header.model["sha256"] != by_path.evidence.header.model["sha256"]


def test_the_module_and_the_process_stay_exactly_as_they_were():
    network = cnn()
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(True)
    network[0].weight.grad = torch.ones_like(network[0].weight)
    network.double()
    before, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    wants, places = [p.requires_grad for p in network.parameters()], [id(p) for p in network.parameters()]
    states = torch.get_rng_state().clone(), random.getstate(), pickle.dumps(np.random.get_state())
    threads = torch.get_num_threads()
    pixels, labels = digits()
    robaudit.check(network, DataLoader(Pairs(), shuffle=True), eps=0.1, force=True, **SHORT)
    robaudit.check(network, pixels, labels, eps=0.1, force=True, limit=10, **SHORT)
    assert [m.training for m in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == wants
    assert [id(p) for p in network.parameters()] == places
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.dtype == before[name].dtype for name, value in network.state_dict().items())
    assert torch.equal(network[0].weight.grad, torch.ones_like(network[0].weight))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), pickle.dumps(np.random.get_state()))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_callers_modes_change_nothing(plain, mode):
    pixels, labels = digits()
    with mode():
        made_there = load_classifier(str(DISTILLED)).network
        x = torch.from_numpy(pixels).unsqueeze(1).float() * (1 / 255)
        x = (x * 255).round() / 255
        result = robaudit.check(made_there, x, torch.from_numpy(labels) + 0, eps=0.1, **SHORT)
        seen = robaudit.check(made_there, x * 0.999, torch.from_numpy(labels), eps=0.1, limit=8, **SHORT)
    assert outcomes(result) == outcomes(plain)
    assert len(seen.evidence) == 8


def test_a_module_that_is_wrapped_to_be_distributed_or_compiled_is_itself(model, plain):
    pixels, labels = digits()
    wrapped = torch.compile(nn.DataParallel(model))
    result = robaudit.check(wrapped, pixels, labels, eps=0.1, **SHORT)
    assert outcomes(result) == outcomes(plain)
    assert result.evidence.header.model == plain.evidence.header.model


def test_a_module_of_normalised_images_is_audited_with_its_normalisation(model, plain):
    pixels, labels = digits()
    shifted = Wrapped(lambda x: model(x * 0.5 + 0.5))  # undoes (x - 0.5) / 0.5
    result = robaudit.check(shifted, pixels, labels, eps=0.1, normalise="0.5/0.5", **SHORT)
    assert result.accuracy["clean"] == plain.accuracy["clean"]
    assert result.evidence.header.model["normalisation"] == "0.5/0.5"


def test_evidence_that_is_named_is_resumed_and_not_taken_for_anothers(model, tmp_path):
    pixels, labels = digits()
    call = {"eps": 0.1, "limit": 20, "evidence": tmp_path / "a", **SHORT}
    first = robaudit.check(model, pixels, labels, **call)
    again = robaudit.check(model, pixels, labels, **call)
    assert outcomes(first) == outcomes(again)
    assert again.evidence.passes == first.evidence.passes
    with pytest.raises(RobauditError, match="another model"):
        robaudit.check(Another(model), pixels, labels, **call)


class Another(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def test_of_a_large_data_set_only_the_limit_is_read(model):
    data = Pairs()
    result = robaudit.check(model, data, eps=0.1, limit=12, **SHORT)
    assert len(data.read) == 12
    assert sorted(result.evidence.ids.tolist()) == sorted(data.read)
    assert result.evidence.header.data["total"] == 40
    part = robaudit.check(model, Subset(Pairs(), range(15)), eps=0.1, **SHORT)
    assert part.evidence.header.data["total"] == 15


def test_progress_is_told_and_a_claim_is_judged(model, capfd):
    class Watch:
        def __init__(self):
            self.stages = []

        def begin(self, stage, total):
            self.stages.append(stage)

        def advance(self, stage, examples, broken, passes):
            pass

        def end(self, stage):
            pass

        def note(self, text):
            pass

    watch = Watch()
    pixels, labels = digits()
    result = robaudit.check(model, pixels, labels, eps=0.1, claim=0.99, progress=watch, **SHORT)
    assert {"pgd10", "square"} <= set(watch.stages)
    assert result.verdict.claim.outcome == "refuted"
    assert "claim" in result.report("terminal")
    out, err = capfd.readouterr()
    assert not out
    assert not err


def test_the_usual_radius_is_taken_by_name(tmp_path):
    from robaudit.api.data import name_of

    torchvision = pytest.importorskip("torchvision")
    assert name_of(object.__new__(torchvision.datasets.CIFAR100)) == "cifar100"
    assert name_of(DataLoader(Pairs())) == "<Pairs>"
    result = robaudit.check(ADVERSARIAL, "digits", limit=10, attacks="pgd10", evidence=tmp_path / "a")
    assert result.evidence.header.plan.threat.eps == 0.1
    assert result.evidence.header.plan.attacks == ("pgd10",)
    assert result.verdict.outcome == "inconclusive"


def test_load_chooses_among_readings_by_the_data_set():
    model = robaudit.load(str(ADVERSARIAL), dataset="digits")
    assert isinstance(model, nn.Module)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    images = load_images("digits")
    with torch.no_grad():
        assert float((model(images.float()).argmax(1) == images.labels).float().mean()) > 0.8
    assert any("clean accuracy" in note for note in model.info.notes)
    same = robaudit.load(ADVERSARIAL, arch=model.info.architecture, normalise="none", device="cpu")
    assert torch.equal(same(images.float(slice(0, 4))), model(images.float(slice(0, 4))))
    by_pairs = robaudit.load(ADVERSARIAL, dataset=TensorDataset(images.float(), images.labels))
    assert by_pairs.info.architecture == model.info.architecture
    with pytest.raises(RobauditError, match=r"missing\.pt"):
        robaudit.load("missing.pt")
    with pytest.raises(TypeError, match="source is of type Linear"):
        robaudit.load(nn.Linear(2, 2))


@pytest.mark.data
def test_torchvisions_cifar10_is_the_same_data_set_as_ours(data_dir, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "train_list", []
    )  # it insists on batches no test here reads
    from robaudit.api.data import read

    for transform in (torchvision.transforms.ToTensor(), None):  # tensors, and pictures
        theirs = torchvision.datasets.CIFAR10(data_dir, train=False, transform=transform)
        ours = load_images("cifar10", data_dir=data_dir, seed=3)
        found = read(DataLoader(theirs, 64, shuffle=True), None, {}, 3)
        assert (found.name, found.sha256, found.classes) == (ours.name, ours.sha256, ours.classes)
        assert torch.equal(found.ids, ours.ids)
