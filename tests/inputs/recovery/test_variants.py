"""Files as other repositories write them: networks defined here in plain PyTorch, loaded without any hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs import load_classifier, make_images
from robaudit.inputs.normalisation import stored_normalisation
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.layers import module_layers, read_layers
from robaudit.inputs.recovery.matching import candidates
from robaudit.inputs.recovery.reductions import without_copies

X = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lively(network: nn.Module) -> nn.Module:
    """Weights and statistics that make every part matter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return network.eval()


class WideBlock(nn.Module):
    def __init__(self, ins: int, outs: int, stride: int, act: Any = F.relu, far: bool = False) -> None:
        super().__init__()
        self.bn1, self.conv1 = (
            nn.BatchNorm2d(ins),
            nn.Conv2d(ins, outs, 3, stride, 0 if far else 1, bias=False),
        )
        self.bn2, self.conv2 = nn.BatchNorm2d(outs), nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.act, self.far = act, far
        self.short = nn.Conv2d(ins, outs, 1, stride, bias=False) if ins != outs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.bn1(x))
        x = self.short(y) if self.short else x
        if self.far:
            y = F.pad(y, (0, 1, 0, 1) if self.conv1.stride[0] == 2 else (1, 1, 1, 1))
        return x + self.conv2(self.act(self.bn2(self.conv1(y))))


class Wide(nn.Module):
    """A wide residual network; `twice` defines an unused second copy of its first stage."""

    def __init__(self, twice: bool = False, act: Any = F.relu, far: bool = False, first: int = 32) -> None:
        super().__init__()
        self.begin = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = nn.Sequential(WideBlock(16, first, 1, act, far))
        if twice:
            self.sub_block1 = nn.Sequential(WideBlock(16, first, 1, act, far))
        self.block2 = nn.Sequential(WideBlock(first, 64, 2, act, far))
        self.block3 = nn.Sequential(WideBlock(64, 128, 2, act, far))
        self.norm, self.fc, self.act = nn.BatchNorm2d(128), nn.Linear(128, 10), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block3(self.block2(self.block1(self.begin(x))))
        return self.fc(self.act(self.norm(y)).mean((2, 3)))


@pytest.mark.parametrize(
    "first", [32, 16]
)  # as wide as the first convolution, it would read as one more block
def test_an_unused_copy_of_a_stage_is_left_out(tmp_path: Path, first: int) -> None:
    torch.manual_seed(0)
    network = lively(Wide(twice=True, first=first))
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"))
    assert torch.allclose(classifier(X), network(X), atol=1e-4)
    assert any("left out sub_block1" in note for note in classifier.info.notes)
    again = load_classifier(str(tmp_path / "a.pt"), arch=classifier.info.architecture)
    assert torch.equal(again(X), classifier(X))


def test_a_network_that_its_attacker_holds_too(tmp_path: Path) -> None:
    """As a model saved inside its attack: everything is there twice, the normaliser too."""
    torch.manual_seed(0)
    network = lively(Wide())
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.full((3, 1, 1), 0.25)
    state = {"normalizer.new_mean": mean, "normalizer.new_std": std}
    state |= {f"model.{k}": v for k, v in network.state_dict().items()}
    state |= {"attacker.normalize.new_mean": mean, "attacker.normalize.new_std": std}
    state |= {f"attacker.model.{k}": v.clone() for k, v in network.state_dict().items()}
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"))
    assert torch.allclose(classifier(X), network((X - mean) / std), atol=1e-4)


def test_modules_under_two_names_count_once() -> None:
    torch.manual_seed(0)
    conv, fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 10)
    network = nn.ModuleDict({"conv": conv, "fc": fc, "all": nn.ModuleList([conv, fc])})
    assert [layer.name for layer in without_copies(module_layers(network))] == ["conv", "fc"]
    fresh = nn.ModuleDict({"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)})  # alike, not the same
    assert len(without_copies(module_layers(fresh))) == 2


def test_a_first_number_of_one_speaks_for_padding() -> None:
    """`Sequential(ZeroPad2d((1, 2, 1, 2)), Conv2d(3, 32, 5, 2), ...)`: padding has no tensors, but a place."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 64, 10),
    ).eval()  # fmt: skip
    option = candidates(read_layers(network.state_dict()), (3, 32, 32))[0]
    assert torch.allclose(assemble(option)(X), network(X), atol=1e-4)


def test_far_padding_and_swish_are_found_by_accuracy(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = lively(Wide(act=F.silu, far=True))
    x = torch.rand(300, 3, 32, 32)
    with torch.no_grad():
        logits = network(x)
        network.fc.weight.div_(logits.std(0, keepdim=True).T)
        network.fc.bias.copy_((network.fc.bias - logits.mean(0)) / logits.std(0))
        labels = network(x).argmax(1)
    labels[:10] = torch.arange(10)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    images = make_images(x, labels, name="some", split="test", classes=10)
    classifier = load_classifier(str(tmp_path / "a.pt"), images=images, normalise="none")
    assert "pad_end=yes" in classifier.info.architecture and "activation=silu" in classifier.info.architecture
    assert torch.allclose(classifier(X), network(X), atol=1e-3)


def local_winner(x: torch.Tensor) -> torch.Tensor:
    """One of two neighbouring channels survives; the difference of two Gumbel draws is logistic."""
    odds = torch.rand(len(x), x.shape[1] // 2, *x.shape[2:]).logit()
    first = ((x[:, ::2] - x[:, 1::2] + odds) > 0).float()
    return torch.stack([x[:, ::2] * first, x[:, 1::2] * (1 - first)], 2).flatten(1, 2)


def max_min(x: torch.Tensor) -> torch.Tensor:
    one, other = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
    return torch.cat([torch.where(one > other, one, other), torch.where(one > other, other, one)], 1)


@pytest.mark.parametrize(("act", "word"), [(local_winner, "lwta2"), (max_min, "maxmin")])
def test_competing_channels_are_found_by_accuracy(tmp_path: Path, act: Any, word: str) -> None:
    torch.manual_seed(0)
    network = lively(Wide(act=act, twice=True, first=16))
    x = torch.rand(160, 3, 32, 32)
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight.mul_(300)  # clear winners: draws hardly matter, as in a trained network
            norm.bias.mul_(300)
        logits = torch.stack([network(x) for _ in range(3)]).mean(0)
        network.fc.weight.mul_(8).div_(logits.std(0, keepdim=True).T)
        network.fc.bias.copy_((network.fc.bias - logits.mean(0)) * 8 / logits.std(0))
        labels = torch.stack([network(x) for _ in range(3)]).mean(0).argmax(1)
    labels[:10] = torch.arange(10)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    images = make_images(x, labels, name="some", split="test", classes=10)
    classifier = load_classifier(str(tmp_path / "a.pt"), images=images, normalise="none")
    assert f"activation={word}" in classifier.info.architecture


class TwoNorms(nn.Module):
    """A convolution with a normalisation for clean and one for adversarial examples."""

    def __init__(self, which: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)]),
        )
        self.conv2, self.bn2 = (
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ModuleList([nn.BatchNorm2d(16), nn.BatchNorm2d(16)]),
        )
        self.fc, self.which = nn.Linear(16 * 64, 10), which

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1[self.which](self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2[self.which](self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def test_the_first_of_two_sets_of_norms_without_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = lively(TwoNorms(0))
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert torch.allclose(load_classifier(str(tmp_path / "a.pt"))(X), network(X), atol=1e-4)


def test_networks_side_by_side_in_one_state_dict_vote(tmp_path: Path) -> None:
    torch.manual_seed(0)
    members = nn.ModuleList([lively(Wide()) for _ in range(3)])
    for member in members:
        nn.init.normal_(member.fc.weight)
    torch.save({"net": {f"models.{k}": v for k, v in members.state_dict().items()}}, tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"))
    expected = torch.stack([member(X).softmax(1) for member in members]).mean(0)
    assert torch.allclose(classifier(X).exp(), expected, atol=1e-4)
    assert classifier.info.architecture.startswith("ensemble:3*")


class Backwards(nn.Module):
    """Linear layers defined before the convolutions, the last one first."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.hidden = nn.Linear(50, 10), nn.Linear(16 * 25, 50)
        self.a, self.b = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        x = F.max_pool2d(F.relu(self.b(x)), 2)
        return self.out(F.relu(self.hidden(x.flatten(1))))


def test_linear_layers_defined_first() -> None:
    torch.manual_seed(0)
    network = Backwards().eval()
    option = candidates(read_layers(network.state_dict()), (3, 32, 32))[0]
    assert torch.allclose(assemble(option)(X), network(X), atol=1e-5)


def test_alexnet_for_small_images() -> None:
    torch.manual_seed(0)
    conv = [
        nn.Conv2d(3, 64, 11, 4, 5),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
    ]
    conv += [
        nn.MaxPool2d(2, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
    ]
    conv += [nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)]
    network = nn.ModuleDict({"features": nn.Sequential(*conv), "classifier": nn.Linear(256, 10)}).eval()
    options = candidates(read_layers(network.state_dict()), (3, 32, 32))
    expected = network["classifier"](network["features"](X).flatten(1))
    assert any(torch.allclose(assemble(option)(X), expected, atol=1e-4) for option in options[:20])


@pytest.mark.parametrize(
    "names",
    [("norm.mean", "norm.sigma"), ("data_mean", "data_std"), ("mu", "sd"), ("0.mean_", "0.std_"),
     ("input_mean", "input_sigma"), ("pixel_mean", "pixel_std"),
     ("normalize.means", "normalize.stds"), ("_mean", "_std")],
)  # fmt: skip
def test_a_normaliser_of_any_name(names: tuple[str, str]) -> None:
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    state = {
        names[0]: mean.view(3, 1, 1),
        names[1]: std.view(1, 3, 1, 1),
        "conv.weight": torch.zeros(4, 3, 3, 3),
    }
    found, rest = stored_normalisation(state, 3)
    assert found and list(rest) == ["conv.weight"]
    assert found.mean == pytest.approx(mean.tolist()) and found.std == pytest.approx(std.tolist())


def test_a_batch_norm_is_no_normaliser_of_images() -> None:
    state = {f"bn.{key}": value for key, value in nn.BatchNorm2d(3).state_dict().items()}
    assert stored_normalisation(state, 3) == (None, state)


def test_unused_tensors_of_activations_are_left_out(tmp_path: Path) -> None:
    """As certified training keeps a slope for each of an activation's numbers beside the layers."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
    state = {f"blocks.{key}": tensor for key, tensor in network.state_dict().items()}
    spare = {
        f"blocks.{i}.slope": torch.rand(shape) for i, shape in ((1, (8, 16, 16)), (3, (16, 8, 8)), (6, (32,)))
    }
    torch.save(dict(sorted({**state, **spare}.items())), tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"), shape=(3, 32, 32))
    assert torch.allclose(classifier(X), network(X), atol=1e-4)
    assert any("slope" in note for note in classifier.info.notes)
