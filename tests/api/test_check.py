"""`robaudit.check` gives what the command gives, from whatever holds the model and the images."""

import copy
import gc
import json
import pickle
import random
from importlib import resources

import jsonschema
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import robaudit
from robaudit.audit import verify
from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, inside
from robaudit.inputs import load_classifier, load_images
from robaudit.reports import REPORTS
from tests.models import Wrapped, cnn, two_class_linear
from tests.shipped import ADVERSARIAL, DISTILLED

#: Budgets of seconds; every example, so that outcomes can be compared one by one.
SHORT = {
    "examples": "all", "apgd_steps": 4, "fab_steps": 2, "square_queries": 20, "targets": 2, "pgd_steps": 4,
}  # fmt: skip


def digits():
    """Bytes and labels of 40 digits, in a fixed order."""
    found = load_digits()
    return (found.images[-40:] * 15.9).astype(np.uint8), found.target[-40:].astype(np.int64)


class Pairs(Dataset):
    """Digits as a data set with class names; `read` counts what was asked for."""

    def __init__(self, bytes_too=False):
        self.pixels, self.labels = digits()
        self.classes = [str(k) for k in range(10)]
        self.read, self.bytes_too = [], bytes_too

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        self.read.append(row)
        if self.bytes_too:
            return self.pixels[row], int(self.labels[row])
        return torch.from_numpy(self.pixels[row : row + 1]).float() / 255, int(self.labels[row])


def outcomes(result):
    """By example of the data, whatever the order of the audit."""
    order = np.argsort(result.evidence.ids)
    return {name: record.outcome[order].tolist() for name, record in result.evidence.attacks.items()}


@pytest.fixture(scope="module")
def model():
    return load_classifier(str(DISTILLED)).network


@pytest.fixture(scope="module")
def plain(model):
    """From tensors: what every other form is compared with."""
    pixels, labels = digits()
    x = torch.from_numpy(pixels).unsqueeze(1).float() / 255
    return robaudit.check(model, x, torch.from_numpy(labels), eps=0.1, **SHORT)


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


def test_the_adversarial_examples_are_what_they_say(model, plain):
    pixels, labels = digits()
    x, y = torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.from_numpy(labels)
    found = plain.adversarial
    assert len(found.x_adv) == len(found.y) == len(found.ids) == len(found.attacks) > 0
    assert found.x_adv.dtype == torch.float32
    assert torch.equal(found.y, y[found.ids])
    threat = plain.evidence.header.plan.threat
    assert inside(found.x_adv.numpy(), x[found.ids].numpy(), threat).all()
    with torch.no_grad():
        assert (model(found.x_adv).argmax(1) != found.y).all()
    broken = {
        int(key)
        for record in plain.evidence.attacks.values()
        for key in plain.evidence.ids[record.outcome == Outcome.BROKEN]
    }
    assert found.ids.tolist() == sorted(broken)


def test_what_a_result_shows_and_writes(plain, tmp_path):
    assert plain.verdict.outcome in repr(plain)
    assert "PGD-4 reports" in repr(plain)
    assert "AutoAttack" in str(plain)
    bundle = plain._repr_mimebundle_()
    assert bundle["text/plain"] == str(plain)
    assert "<script" not in bundle["text/html"]
    assert f"{100 * plain.accuracy['clean'].value:.1f}" in bundle["text/html"]
    for form in REPORTS:
        assert plain.report(form), form
    schema = json.loads(resources.files("robaudit.reports").joinpath("robaudit-1.schema.json").read_text())
    jsonschema.validate(plain.to_dict(), schema)
    assert json.loads(plain.save(tmp_path / "a.json").read_text()) == plain.to_dict()
    assert plain.save(tmp_path / "a.html").read_text().startswith("<!doctype html>")
    kept = plain.save(tmp_path / "a.evidence")
    again = robaudit.Result.open(kept)
    assert again.to_dict() == plain.to_dict()
    assert torch.equal(again.adversarial.x_adv, plain.adversarial.x_adv)
    assert again.save(kept) == kept, "onto itself is not a loss"
    assert kept.stat().st_size > 1000
    with pytest.raises(RobauditError, match="format 'pdf' is not known"):
        plain.report("pdf")
    with pytest.raises(RobauditError, match=r"missing/a\.json: cannot be written"):
        plain.save(tmp_path / "missing" / "a.json")


def test_the_report_of_a_module_says_how_to_repeat_it_from_python(plain):
    assert "robaudit.check(model, images, labels, examples=" in plain.report("html").replace("&#x27;", "'")


def test_a_strangers_name_is_only_text(model):
    hostile = type("<img src=x onerror=alert(1)>\x1b[31m", (Wrapped,), {})(model)
    pixels, labels = digits()
    result = robaudit.check(hostile, pixels, labels, eps=0.1, limit=10, **SHORT)
    for text in (result._repr_html_(), result.report("html"), str(result), repr(result)):
        assert "<img src=x" not in text or text in (str(result), repr(result))
        assert "\x1b" not in text


def test_a_result_stays_what_it_was_when_its_file_is_gone_on_with(tmp_path):
    def audited(**more):
        path, short = tmp_path / "one.evidence", {"apgd_steps": 20, "square_queries": 110, "fab_steps": 3}
        return robaudit.check(ADVERSARIAL, "digits", limit=300, evidence=path, **short, **more)

    before = audited(within=8)
    shown = before.report("json")
    after = audited(within=1)
    assert after.accuracy["autoattack"] != before.accuracy["autoattack"]
    assert json.loads(before.report("json")) == json.loads(shown)
    assert f"{100 * before.accuracy['autoattack'].low:.1f}" in before.report("terminal")


def test_in_a_notebook_a_result_is_shown_once(plain, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("printed beside the result"))
    assert "PGD-10" in plain._repr_mimebundle_()["text/plain"]


def test_the_evidence_of_a_module_goes_with_its_result(model):
    pixels, labels = digits()
    result = robaudit.check(model, pixels, labels, eps=0.1, limit=10, **SHORT)
    place = result.path
    assert place.exists()
    del result
    gc.collect()
    assert not place.exists()


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


X, Y = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)
NAN = torch.where(torch.arange(64).reshape(8, 8) == 0, torch.nan, X)
BAD = [
    ((X[0, 0], Y), {}, RobauditError, r"<arrays>: images have shape \(8, 8\); expected \(N, C, H, W\)"),
    ((X[:, 0], Y), {}, RobauditError, r"unsqueeze\(1\) for grey"),
    ((X.permute(0, 2, 3, 1), Y), {}, RobauditError, r"channels last; expected .* permute\(0, 3, 1, 2\)"),
    ((X[:0], Y[:0]), {}, RobauditError, "N >= 1"),
    ((X * 2 - 1, Y), {}, RobauditError, r"images run from -.*; expected \[0, 1\], before any normalisation"),
    ((X * 255, Y), {}, RobauditError, r"images run from .*; expected \[0, 1\]"),
    ((NAN, Y), {}, RobauditError, "NaN or infinite"),
    ((X.mul(255).long(), Y), {}, RobauditError, "images are torch.int64"),
    ((np.array([["a"]]), Y), {}, RobauditError, "images are <U1"),
    ((X, Y[:5]), {}, RobauditError, r"8 images but labels of shape \(5,\)"),
    ((X, Y + 5), {}, RobauditError, "labels run up to 12; the model has 10 classes, 0 to 9"),
    ((X, Y - 1), {}, RobauditError, "labels go down to -1; give class indices from 0"),
    ((X, Y.float()), {}, RobauditError, r"labels are float32; give class indices .* labels.long\(\)"),
    ((X, X[:, 0, 0]), {}, RobauditError, r"labels have shape \(8, 8\) and are not one-hot"),
    ((X, ["a"] * 8), {}, RobauditError, "labels are not whole numbers"),
    ((X,), {}, TypeError, "labels are missing"),
    ((TensorDataset(X, Y), Y), {}, TypeError, "labels: are for a tensor"),
    ((TensorDataset(X),), {}, RobauditError, r"<TensorDataset>: its items are tuple; expected \(image, label\)"),
    ((TensorDataset(X[:0], Y[:0]),), {}, RobauditError, "holds no example"),
    ((7, Y), {}, TypeError, "data is of type int"),
    ((7,), {}, TypeError, "data is of type int; expected a tensor"),
    (("no-such-set",), {}, RobauditError, "no-such-set: no such data set"),
    ((X, Y), {"eps": None}, RobauditError, "<arrays>: has no usual radius; pass eps, for example eps=8/255"),
    ((X, Y), {"eps": 8}, RobauditError, "did you mean 8/255"),
    ((X, Y), {"eps": "8/0"}, RobauditError, "'8/0' is not a number"),
    ((X, Y), {"norm": "L3"}, RobauditError, "norm 'L3' is not known"),
    ((X, Y), {"sed": 1}, TypeError, r"check\(\) has no setting 'sed'; did you mean 'seed'"),
    ((X, Y), {"zzz": 1}, TypeError, "known are arch"),
    ((X, Y), {"batch_size": 8}, TypeError, "outcomes do not depend on it"),
    ((X, Y), {"seed": "0"}, TypeError, "seed is '0'; expected a whole number"),
    ((X, Y), {"confidence": "high"}, TypeError, "confidence is 'high'; expected a number"),
    ((X, Y), {"confidence": 99}, RobauditError, "confidence 99 must be in"),
    ((X, Y), {"attacks": "pdg10"}, RobauditError, "attack 'pdg10' is not known"),
    ((X, Y), {"attacks": [1]}, TypeError, "expected names of attacks"),
    ((X, Y), {"claim": 45.0}, RobauditError, "did you mean 0.45"),
    ((X, Y), {"claim": 0.4, "attacks": "pgd10"}, RobauditError, "among attacks"),
    ((X, Y), {"progress": 3}, TypeError, "expected True, False, or an object"),
    ((X, Y), {"device": "cuda:77"}, RobauditError, "device 'cuda:77' cannot be used.*; try device cpu"),
    ((X, Y), {"split": "train"}, TypeError, "split: is for a data set given by its name"),
    ((X, Y), {"arch": "resnet18"}, TypeError, "arch: is for a checkpoint"),
    ((X, Y), {"normalise": "cifar10"}, RobauditError, "normalise cifar10: is for 3 channels"),
    ((X, Y), {"evidence": "missing/a", "force": True}, RobauditError, "missing: no such folder; .* another evidence"),
    ((X, Y), {"limit": 0}, RobauditError, "limit 0 must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "changes", "kind", "message"), BAD)
def test_bad_input_is_one_clear_error(model, arguments, changes, kind, message):
    with pytest.raises(kind, match=message):
        robaudit.check(model, *arguments, **{"eps": 0.1} | changes)


class NonLeaf(nn.Module):
    def __init__(self):
        super().__init__()
        self.kept = nn.Parameter(torch.ones(2)) * 2

    def forward(self, x):
        return x.flatten(1)[:, :2] * self.kept


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (
            Wrapped(lambda x: (x.flatten(1), x.flatten(1))),
            RobauditError,
            r"<Wrapped>: gives \(2, 64\), \(2, 64\) for 2 images; expected",
        ),
        (Wrapped(lambda x: {"text": "logits"}), RobauditError, "gives dict for 2 images"),
        (Wrapped(lambda x: x), RobauditError, r"gives \(2, 1, 8, 8\) for 2 images"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(5, 10)),
            RobauditError,
            r"<Sequential>: does not run on images of",
        ),
        (nn.Linear, TypeError, "model is the class Linear; expected an nn.Module instance"),
        (7, TypeError, "model is of type int; expected an nn.Module"),
        (NonLeaf(), RobauditError, "<NonLeaf>: cannot be copied"),
        ("missing.pt", RobauditError, "missing.pt"),
    ],
)
def test_a_bad_model_is_one_clear_error(bad, kind, message):
    with pytest.raises(kind, match=message):
        robaudit.check(bad, X, Y, eps=0.1)


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (
            Wrapped(lambda x: (x, x.flatten(1)[:, :10])),
            "of 2 outputs, output '1' is audited",
        ),
        (Wrapped(lambda x: {"loss": None, "logits": x.flatten(1)[:, :10]}), ""),
        (Wrapped(lambda x: x[:, :, 0].flatten(1)[:, :10, None, None].expand(-1, -1, 1, 1)[:, :8]), ""),
    ],
)
def test_a_module_with_other_outputs_is_audited_by_its_logits(model, note):
    labels = Y % 8
    found = robaudit.check(model, X, labels, eps=0.1, attacks="pgd10", limit=8, force=True)
    notes = found.evidence.header.model["notes"]
    assert any(note in text for text in notes) if note else notes == []


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()])
def test_one_number_is_the_second_of_two_logits(last):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    found = robaudit.check(
        nn.Sequential(plain, last), X, Y % 2, eps=0.1, attacks="pgd10", limit=8, force=True
    )
    assert found.evidence.header.model["classes"] == 2
    assert ("sigmoid" in found.evidence.header.model["notes"][0]) == isinstance(last, nn.Sigmoid)
    place = {int(key): row for row, key in enumerate(found.evidence.ids)}
    answers = (plain(X) > 0).long().squeeze(1)
    assert all(found.evidence.predictions[row] == answers[key] for key, row in place.items())


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
