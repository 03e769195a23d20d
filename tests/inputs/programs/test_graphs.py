"""Programs of many kinds of networks in every format: answers, gradients and layers of what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.resnet import BasicBlock, ResNet

from robaudit.fast.folding import fold_batch_norm, trace
from robaudit.inputs import build_architecture
from robaudit.inputs.files.copies import read_copy
from robaudit.inputs.programs.exported import read_exported
from robaudit.inputs.programs.network import build_network
from robaudit.inputs.programs.onnx import read_onnx
from robaudit.inputs.programs.torchscript import read_torchscript

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.filterwarnings("ignore")


class Normalised(nn.Module):
    """A normalisation, views, a concatenation and a rounding of shapes in its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - self.mean) / self.std
        x = self.norm(self.conv(x))
        x = torch.cat([torch.relu(x), torch.relu(-x)], 1)
        x = self.pool(x)
        return self.fc(x.view(x.size(0), -1))


def with_last(last: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(196, 10), last
    )


def known(spec: str) -> Callable[[], nn.Module]:
    return lambda: build_architecture(spec, classes=10, in_channels=3, image_size=32)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet20 with padded shortcuts": (known("resnet20:shortcut=pad-end"), 32),
    "resnet of basic blocks": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10), 32),
    "vgg11_bn": (known("vgg11_bn"), 32),
    "densenet": (known("densenet:growth=8,blocks=2-2,stem=8,transitions=12,neck=16,new_first=yes"), 32),
    "mobilenet_v2": (lambda: mobilenet_v2(num_classes=10, width_mult=0.25), 32),
    "vit": (known("vit:width=16,depth=2,heads=2,inner=16,hidden=16,patch=8"), 32),
    "normalised": (Normalised, 16),
    "softmax": (with_last(nn.Softmax(1)), 16),
    "log_softmax": (with_last(nn.LogSoftmax(1)), 16),
}
#: Those whose Python `torch.jit.script` understands.
SCRIPTED = ("resnet of basic blocks", "mobilenet_v2", "normalised", "softmax", "log_softmax")
READERS = {
    kind: (lambda path, read=read: read(read_copy(path)))
    for kind, read in (("ts", read_torchscript), ("pt2", read_exported), ("onnx", read_onnx))
}


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network with batch norms that do something, and images."""
    make, side = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network, torch.rand(4, 3, side, side)


def export(network: nn.Module, x: torch.Tensor, form: str, path: Path) -> None:
    """Write a network in a format: traced, scripted, for one image or for any number."""
    kind, _, how = form.partition(" ")
    if kind == "ts":
        torch.jit.save(
            torch.jit.script(network) if how == "scripted" else torch.jit.trace(network, x[:1]), str(path)
        )
    elif kind == "pt2":
        shapes = ({0: torch.export.Dim("n", min=1, max=512)},) if how == "any" else None
        program = torch.export.export(network, (x[:2] if how == "any" else x[:1],), dynamic_shapes=shapes)
        torch.export.save(program.run_decompositions() if how == "decomposed" else program, str(path))
    else:
        axes = {"dynamic_axes": {"x": {0: "n"}}} if how == "any" else {}
        torch.onnx.export(network, (x[:1],), str(path), dynamo=False, input_names=["x"], **axes)  # type: ignore[arg-type]


def own_runtime(form: str, path: Path, x: torch.Tensor) -> torch.Tensor:
    """What the format's own runtime answers to one image."""
    if form.startswith("ts"):
        return torch.jit.load(str(path))(x[:1])
    if form.startswith("pt2"):
        return torch.export.load(str(path)).module()(x[:1])
    from onnx.reference import ReferenceEvaluator

    return torch.from_numpy(np.asarray(ReferenceEvaluator(str(path)).run(None, {"x": x[:1].numpy()})[0]))


FORMS = ["ts traced", "ts scripted", "pt2 one", "pt2 any", "pt2 decomposed", "onnx one", "onnx any"]
#: Exported for any number of images, our vision transformer is exported for two.
CASES = [
    (name, form)
    for name in NETWORKS
    for form in FORMS
    if (form != "ts scripted" or name in SCRIPTED) and (name, form) != ("vit", "pt2 any")
]


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize(("name", "form"), CASES)
def test_a_program_is_a_graph_of_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    network, x = made(name)
    path = tmp_path / "a"
    export(network, x, form, path)
    expected = own_runtime(form, path, x)
    with monkeypatch.context() as patch:
        for module, function in ((torch.jit, "load"), (torch.export, "load"), (torch, "load")):
            patch.setattr(module, function, None)
        found: Any = build_network(READERS[form.split(maxsplit=1)[0]](path), (3, x.shape[2], x.shape[3]))  # type: ignore[arg-type]
    assert isinstance(found.body, torch.fx.GraphModule)
    # A vision transformer says its number of images in a way that is read for any only where the file says so.
    assert found.fixed_batch == 0 or (name == "vit" and not form.endswith("any"))
    assert torch.allclose(found(x[:1]), expected, atol=1e-4)
    for images in (x, x[:1], x[1:].flip(0)):
        ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
        logits, wanted = found(ours), network(theirs)
        assert torch.allclose(logits, wanted, atol=1e-4)
        labels = torch.arange(len(images))
        (mine,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), ours)
        (other,) = torch.autograd.grad(nn.functional.cross_entropy(wanted, labels), theirs)
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-5)
    if not form.startswith("onnx"):  # the exporter folds norms into convolutions by itself
        for kind in (nn.Conv2d, nn.BatchNorm2d):
            assert count(found, kind) == count(network, kind)
        assert sum(p.numel() for p in found.parameters()) >= sum(p.numel() for p in network.parameters())
    if found.fixed_batch == 0:
        traced = trace(found, x)
        assert traced is not None
        foldable = name in ("resnet20 with padded shortcuts", "vgg11_bn", "mobilenet_v2", "normalised")
        assert not foldable or count(fold_batch_norm(traced, x), nn.BatchNorm2d) == 0


@pytest.mark.parametrize("form", ["ts traced", "pt2 one", "onnx any"])
@pytest.mark.parametrize(("name", "kind"), [("softmax", nn.Softmax), ("log_softmax", nn.LogSoftmax)])
def test_a_softmax_at_the_end_is_a_layer_of_its_own(
    tmp_path: Path, form: str, name: str, kind: type[nn.Module]
) -> None:
    network, x = made(name)
    export(network, x, form, tmp_path / "a")
    graph = build_network(READERS[form.split(maxsplit=1)[0]](tmp_path / "a"), (3, 16, 16)).body  # type: ignore[arg-type]
    last = next(iter(reversed(graph.graph.nodes))).args[0]
    assert last.op == "call_module"
    assert isinstance(graph.get_submodule(last.target), kind)


class Centred(nn.Module):
    """Its answer to an image depends on the other images."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return self.fc(x - x.mean(0, keepdim=True))


def test_a_graph_whose_images_are_not_independent_gets_the_batch_that_it_was_written_for(
    tmp_path: Path,
) -> None:
    network, x = Centred(), torch.rand(6, 3, 4, 4)
    torch.export.save(torch.export.export(network, (x[:2],)), str(tmp_path / "a"))
    found: Any = build_network(READERS["pt2"](tmp_path / "a"), (3, 4, 4))
    assert found.fixed_batch == 2
    assert torch.allclose(found(x), torch.cat([network(part) for part in x.split(2)]), atol=1e-5)
    assert found(x[:5]).shape == (5, 10)


def test_a_weight_that_is_used_twice_stays_one(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    network, x = nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(48, 10)), torch.rand(2, 3, 4, 4)
    export(network, x, "ts traced", tmp_path / "a")
    found = build_network(READERS["ts"](tmp_path / "a"), (3, 4, 4))  # type: ignore[arg-type]
    assert torch.allclose(found(x), network(x), atol=1e-5)
    assert sum(p.numel() for p in found.parameters()) == sum(p.numel() for p in network.parameters())
