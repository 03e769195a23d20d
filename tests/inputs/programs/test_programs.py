"""ONNX, TorchScript and .pt2 files against the PyTorch networks that they were made from."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import build_architecture, inspect_checkpoint, load_classifier, make_images

onnx = pytest.importorskip("onnx")
X = torch.rand(5, 1, 8, 8)
LABELS = torch.tensor([0, 1, 2, 3, 4])
IMAGES = make_images(X, LABELS, name="some", split="test", classes=10)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_architecture("digits-cnn", classes=10, in_channels=1, image_size=8).eval()


def save_onnx(path: Path, model: nn.Module, opset: int = 9, domain: str = "", batch: int = 1) -> None:
    """The digits network as an ONNX graph, written by hand."""
    from onnx import helper, numpy_helper

    weights = [tensor.numpy() for tensor in model.state_dict().values()]
    names = ["w1", "b1", "w2", "b2", "w3", "b3", "w4", "b4"]
    tensors = [numpy_helper.from_array(array, name) for array, name in zip(weights, names, strict=True)]
    tensors.append(numpy_helper.from_array(np.array([batch, -1]), "shape"))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], domain=domain),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], transB=1),
        helper.make_node("Relu", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "w4", "b4"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", 1, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("y", 1, [batch, 10])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))


def save_script(path: Path, model: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, X[:1]), str(path))


def save_exported(path: Path, model: nn.Module, dynamic: bool = False) -> None:
    shapes = ({0: torch.export.Dim("n", min=1, max=512)},) if dynamic else None
    torch.export.save(torch.export.export(model, (X[:2],), dynamic_shapes=shapes), str(path))


SAVERS = {
    "net.onnx": save_onnx,
    "net.ts": save_script,
    "net.pt2": save_exported,
    "dynamic.pt2": lambda path, model: save_exported(path, model, dynamic=True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAVERS)
def test_a_program_gives_the_same_logits_and_gradients(tmp_path: Path, name: str) -> None:
    model = network()
    SAVERS[name](tmp_path / name, model)
    classifier = load_classifier(str(tmp_path / name), normalise="none", images=IMAGES, force=True)
    ours, theirs = X.clone().requires_grad_(), X.clone().requires_grad_()
    logits, expected = classifier(ours), model(theirs)
    assert torch.allclose(logits, expected, atol=1e-5)
    nn.functional.cross_entropy(logits, LABELS).backward()
    nn.functional.cross_entropy(expected, LABELS).backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)  # type: ignore[arg-type]
    info = classifier.info
    again = load_classifier(str(tmp_path / name), arch=info.architecture, normalise=info.normalisation)
    assert torch.allclose(again(X), expected, atol=1e-5)
    assert inspect_checkpoint(str(tmp_path / name)).architectures == (info.architecture,)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet20", "preactresnet18", "mobilenet", "vgg11_bn"])
def test_larger_networks_as_pt2(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = build_architecture(name, classes=10).eval()
    x = torch.rand(2, 3, 32, 32)
    torch.export.save(torch.export.export(model, (x,)), str(tmp_path / "a.pt2"))
    assert torch.allclose(load_classifier(str(tmp_path / "a.pt2"))(x), model(x), atol=1e-5)


def test_a_custom_operator_is_refused(tmp_path: Path) -> None:
    save_onnx(tmp_path / "net.onnx", network(), domain="com.example")
    with pytest.raises(RobauditError, match=r"custom operator 'com\.example\.Relu'"):
        load_classifier(str(tmp_path / "net.onnx"))


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    save_onnx(tmp_path / "net.onnx", network())
    images = make_images(torch.rand(4, 3, 32, 32), torch.arange(4), name="x", split="test", classes=10)
    with pytest.raises(RobauditError, match="takes images of 1x8x8, the data set has 3x32x32"):
        load_classifier(str(tmp_path / "net.onnx"), images=images)


def test_external_data_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_onnx(path, network())
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RobauditError, match="keeps 'w1' in another file"):
        load_classifier(str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        {"target": "torch.ops.aten.from_file.default"},
        {"target": "torch.ops.mylib.run.default"},
        {"target": "os.system"},
        {"target": "torch.ops.aten.relu.default.__globals__"},
    ],
)
def test_an_exported_graph_calls_nothing_else(tmp_path: Path, change: dict[str, str]) -> None:
    save_exported(tmp_path / "a.pt2", network())
    with zipfile.ZipFile(tmp_path / "a.pt2") as source, zipfile.ZipFile(tmp_path / "b.pt2", "w") as target:
        for record in source.infolist():
            data = source.read(record)
            if record.filename.endswith("models/model.json"):
                document = json.loads(data)
                document["graph_module"]["graph"]["nodes"][0] |= change
                data = json.dumps(document).encode()
            target.writestr(record.filename, data)
    with pytest.raises(RobauditError, match="needs the operator"):
        load_classifier(str(tmp_path / "b.pt2"))


@pytest.mark.filterwarnings("ignore")
def test_script_that_reads_files_is_refused(tmp_path: Path) -> None:
    class Reads(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_file("/etc/hostname", False, 4) + x.sum()

    torch.jit.save(torch.jit.script(Reads()), str(tmp_path / "a.pt"))
    with pytest.raises(RobauditError, match=r"the function 'torch\.from_file', which is not read as data"):
        load_classifier(str(tmp_path / "a.pt"), shape=(1, 8, 8))


class Masked(nn.Module):
    """Writes a mask piece by piece; nobody takes what the writing gives."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(8, 8)
        for place, rows in enumerate((slice(0, 3), slice(3, 8))):
            mask[rows, 2:] = float(place + 1)
        mask[:, :2].add_(0.5)
        return self.fc((x * mask).flatten(1))


class Overwrites(nn.Module):
    """Overwrites a part of what depends on the images, and uses the whole afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y[:, :, :4].mul_(0.5)
        return self.fc(y.flatten(1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("save", [save_exported, save_script], ids=["pt2", "torchscript"])
def test_what_is_written_in_place_counts(tmp_path: Path, save: Any) -> None:
    network = Masked().eval()
    save(tmp_path / "a.pt2", network)
    found = load_classifier(str(tmp_path / "a.pt2"), shape=(1, 8, 8))
    assert torch.allclose(found(X), network(X), atol=1e-5)
    assert torch.allclose(found(X), network(X), atol=1e-5)
    save(tmp_path / "b.pt2", Overwrites().eval())
    with pytest.raises(RobauditError, match="uses a tensor again that it has overwritten"):
        load_classifier(str(tmp_path / "b.pt2"), shape=(1, 8, 8))
