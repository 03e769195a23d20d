"""Several outputs, one output, outputs with more dimensions: what is audited, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.gradients import input_gradient
from robaudit.inputs import load_classifier
from robaudit.inputs.programs import with_logits
from robaudit.inputs.programs.onnx.reading import _tensor

pytest.importorskip("onnx")
pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.rand(3, 3, 8, 8)


class Answers(nn.Module):
    """10 logits and 4 features, answered with as `how` says."""

    def __init__(self, how: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.fc, self.how = nn.Linear(192, 4), nn.Linear(4, 10), how

    def forward(self, x: torch.Tensor) -> Any:
        features = torch.tanh(self.features(x.flatten(1)))
        return self.how(self.fc(features), features)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.tanh(self.features(x.flatten(1))))


def save(network: nn.Module, kind: str, path: Path) -> None:
    if kind == "torchscript":
        torch.jit.save(torch.jit.trace(network, X[:1], strict=False, check_trace=False), str(path))
    elif kind == "pt2":
        torch.export.save(torch.export.export(network, (X[:1],)), str(path))
    else:
        torch.onnx.export(network, (X[:1],), str(path), dynamo=False, input_names=["x"])  # type: ignore[arg-type]


KINDS = ("torchscript", "pt2", "onnx")
ENDINGS = {"torchscript": "a.pt", "pt2": "a.pt2", "onnx": "a.onnx"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "how",
    [lambda z, f: (z, f), lambda z, f: (f, z), lambda z, f: {"a": f, "logits": z}],
    ids=["first", "last", "table"],
)
def test_the_only_output_with_the_classes_columns(tmp_path: Path, kind: str, how: Any) -> None:
    network = Answers(how).eval()
    path = tmp_path / ENDINGS[kind]
    save(network, kind, path)
    found = load_classifier(str(path), normalise="none", shape=(3, 8, 8), classes=10)
    assert torch.allclose(found(X), network.logits(X), atol=1e-5)
    assert found.info.classes == 10
    assert any("of 2 outputs" in note and "the only one of 10 columns" in note for note in found.info.notes)
    with pytest.raises(RobauditError, match=r"gives .*\(1, \d+\).* expected"):  # nothing says which
        load_classifier(str(path), normalise="none", shape=(3, 8, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_two_outputs_with_the_classes_columns_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ENDINGS[kind]
    save(Answers(lambda z, f: (z, z.softmax(1))).eval(), kind, path)
    with pytest.raises(RobauditError, match="expected one of 10 columns: let it return only its logits"):
        load_classifier(str(path), normalise="none", shape=(3, 8, 8), classes=10)


@pytest.mark.parametrize("kind", KINDS)
def test_dimensions_of_size_one_are_dropped(tmp_path: Path, kind: str) -> None:
    network = Answers(lambda z, f: z[:, :, None, None]).eval()
    path = tmp_path / ENDINGS[kind]
    save(network, kind, path)
    found = load_classifier(str(path), normalise="none", shape=(3, 8, 8))
    assert torch.allclose(found(X), network.logits(X), atol=1e-5) and not found.info.notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", ["logit", "sigmoid", "flat", "threshold", "rounded"])
def test_one_number(tmp_path: Path, kind: str, last: str) -> None:
    ends = {
        "logit": lambda z, f: z[:, :1],
        "sigmoid": lambda z, f: torch.sigmoid(z[:, :1]),
        "flat": lambda z, f: torch.sigmoid(z[:, :1]).squeeze(1),
        "threshold": lambda z, f: (torch.sigmoid(z[:, :1]) > 0.5).float(),
        "rounded": lambda z, f: torch.round(torch.sigmoid(z[:, :1])),
    }
    network = Answers(ends[last]).eval()
    path = tmp_path / ENDINGS[kind]
    save(network, kind, path)
    found = load_classifier(str(path), normalise="none", shape=(3, 8, 8), classes=2)
    second = network.logits(X)[:, 0]
    assert torch.allclose(found(X), torch.stack([torch.zeros(3), second], 1), atol=1e-5)
    assert ("sigmoid" in found.info.notes[0]) == (last != "logit")


class _Centred(nn.Module):
    """Normalises in place, so that it writes into the images it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sub_(0.5).div_(0.25).flatten(1)[:, :10]


def test_a_network_that_writes_into_its_input() -> None:
    found = with_logits(_Centred(), X, "mine")
    x = X.clone().requires_grad_()
    assert torch.allclose(input_gradient(found.network(x).sum(), x).sum(), torch.tensor(3 * 10 * 4.0))
    assert torch.equal(x, X)
    assert (
        with_logits(nn.Flatten(), X, "mine").network.__class__ is nn.Flatten
    )  # others are called as they are


def test_a_network_without_a_gradient_by_its_own_doing_is_told_so() -> None:
    x = X.clone().requires_grad_()
    with pytest.raises(RobauditError, match=r"^model: overwrites in place"):
        input_gradient(x.exp().mul_(x.exp().relu_().add_(1)).relu_().add_(1).sum(), x)


def test_a_network_that_takes_more_than_images() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return (x * mask).flatten(1)

    with pytest.raises(RobauditError, match=r"^mine: takes more than images"):
        with_logits(Two(), X, "mine")


def test_bfloat16_in_an_onnx_file() -> None:
    from onnx import TensorProto, helper

    item = helper.make_tensor("w", TensorProto.BFLOAT16, [2], [1.5, -2.0])
    assert _tensor(item).tolist() == [1.5, -2.0]


def test_whole_numbers_for_logits_are_named(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return (100 * x.flatten(1)[:, :10]).round().int()\n"
    )
    with pytest.raises(
        RobauditError, match="gives numbers of type int32; let it return its logits as floats"
    ):
        load_classifier(f"{tmp_path / 'nets.py'}:Net", shape=(3, 8, 8))
