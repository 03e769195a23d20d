"""What `robaudit.check` refuses, and how it takes unusual outputs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import robaudit
from robaudit.errors import RobauditError
from tests.models import Wrapped

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
    ((X, Y), {"confidence": 1 - 1e-15}, RobauditError, "must be at most 0.99999"),
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
