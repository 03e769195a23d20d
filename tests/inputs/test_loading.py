"""Round trips: containers x wrappers x architectures, normalisation, ensembles, choice by accuracy."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs import (
    Images,
    build_architecture,
    inspect_checkpoint,
    load_classifier,
    load_images,
    make_images,
    save_classifier,
)
from tests.shipped import ADVERSARIAL

State = dict[str, torch.Tensor]
ARCHITECTURES = ("resnet20", "preactresnet18:widths=8-16-32-48", "wrn-10-1", "cnn6", "lenet5")


class Config:
    """Somebody's own class, of which files carry instances."""

    rate = 0.1


def prefixed(state: State, prefix: str) -> State:
    return OrderedDict((prefix + key, tensor) for key, tensor in state.items())


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "best_acc": np.float64(0.5)},
    "net": lambda state: {"net": state, "acc": 91.2, "args": argparse.Namespace(lr=0.1)},
    "model_state_dict": lambda state: {
        "model_state_dict": state,
        "optimizer": {"state": {0: {"exp": torch.ones(9, 9)}}},
    },
    "module": lambda state: prefixed(state, "module."),
    "compiled": lambda state: {"model": prefixed(state, "_orig_mod.")},
    "deep": lambda state: {"state_dict": prefixed(state, "module.model.backbone.")},
    "behind": lambda state: prefixed(state, "1."),
    "list": lambda state: {"state_dict": [state], "epoch": 1},
    "tuple": lambda state: (3, state),
    "ema": lambda state: {"state_dict": state, "ema": {key: tensor * 2 for key, tensor in state.items()}},
    "lightning": lambda state: {
        "state_dict": prefixed(state, "model."),
        "pytorch-lightning_version": "2.0",
        "loops": {},
    },
    "config": lambda state: {"state_dict": state, "config": Config(), "path": Path("/x")},
    "half": lambda state: {k: t.half() if t.is_floating_point() else t for k, t in state.items()},
    "batch": lambda state: {**state, "stored": torch.rand(64, 3, 32, 32)},
}


def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_architecture(name, classes=10).eval()


@pytest.mark.parametrize("arch", ("resnet20", "lenet5"))
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_gives_the_same_logits(tmp_path: Path, wrapper: str, arch: str) -> None:
    network = model(arch)
    x = torch.rand(2, 3, 32, 32)
    expected = network(x)
    for legacy in (False, True):
        path = tmp_path / f"a{legacy}.pth"
        torch.save(WRAPPERS[wrapper](network.state_dict()), path, _use_new_zipfile_serialization=not legacy)
        classifier = load_classifier(str(path), arch=arch)
        assert torch.allclose(classifier(x), expected, atol=2e-2 if wrapper == "half" else 1e-5)
        assert classifier.info.parameters == sum(p.numel() for p in network.parameters())
        assert not any(p.requires_grad for p in classifier.parameters()) and not classifier.training


ENDINGS = [
    (ending, "lenet5") for ending in ("pt", "pth", "ckpt", "tar", "pkl", "bin", "model", "th", "t7", "net")
]
ENDINGS += [(ending, arch) for ending in ("pt", "safetensors") for arch in ARCHITECTURES]


@pytest.mark.parametrize(("ending", "arch"), ENDINGS)
def test_every_ending_without_a_name(tmp_path: Path, ending: str, arch: str) -> None:
    network = model(arch)
    path = tmp_path / f"a.{ending}"
    state = network.state_dict()
    if ending == "safetensors":
        save_file(state, path)  # which forgets the order
    else:
        torch.save(state, path)
    x = torch.rand(2, 3, 32, 32)
    classifier = load_classifier(str(path))
    assert torch.allclose(classifier(x), network(x), atol=1e-5)
    info = classifier.info
    again = load_classifier(str(path), arch=info.architecture, normalise=info.normalisation)
    assert torch.equal(again(x), classifier(x)) and again.info.sha256 == info.sha256


def test_our_own_files_need_no_flag(tmp_path: Path) -> None:
    network = build_architecture("digits-cnn", classes=10, in_channels=1, image_size=8).eval()
    path = tmp_path / "best.safetensors"
    save_classifier(
        network, path, architecture="digits-cnn", classes=10, input_shape=(1, 8, 8), normalisation="0.3/0.4"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]
    classifier = load_classifier(str(path))
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(classifier(x), network((x - 0.3) / 0.4), atol=1e-5)
    assert classifier.info.architecture == "digits-cnn" and classifier.info.normalisation == "0.3/0.4"
    assert torch.allclose(classifier.mean, torch.tensor(0.3)) and torch.allclose(
        classifier.std, torch.tensor(0.4)
    )


def test_an_unwritable_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RobauditError, match="cannot be written"):
        save_classifier(
            nn.Linear(2, 2),
            tmp_path / "no" / "a.safetensors",
            architecture="mlp",
            classes=2,
            input_shape=(1, 8, 8),
        )


@pytest.mark.parametrize(
    "names",
    [
        ("normalizer.mean", "normalizer.std"),
        ("mean", "std"),
        ("0.mu", "0.sigma"),
        ("module.normalize.mean", "module.normalize.std"),
    ],
)
def test_a_stored_normalisation_is_used(tmp_path: Path, names: tuple[str, str]) -> None:
    network = model("resnet20")
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    stored = {names[0]: mean.view(1, 3, 1, 1), names[1]: std.view(1, 3, 1, 1)}
    torch.save({**stored, **prefixed(network.state_dict(), "1.")}, tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"))
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(classifier(x), network((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)), atol=1e-4)


def test_several_networks_in_a_file_are_an_ensemble(tmp_path: Path) -> None:
    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        members.append(build_architecture("resnet20", classes=10).eval())
    torch.save({f"model{i}": member.state_dict() for i, member in enumerate(members)}, tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"))
    x = torch.rand(4, 3, 32, 32)
    expected = torch.stack([member(x).softmax(1) for member in members]).mean(0)
    assert torch.allclose(classifier(x).exp(), expected, atol=1e-5)
    one = load_classifier(str(tmp_path / "a.pt"), key="model1")
    assert torch.allclose(one(x), members[1](x), atol=1e-5)
    again = load_classifier(str(tmp_path / "a.pt"), arch=classifier.info.architecture)
    assert torch.equal(again(x), classifier(x))


def test_a_factory_is_the_only_code_that_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.save(prefixed(network.state_dict(), "module."), tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"), arch=f"{tmp_path / 'mine.py'}:net", normalise="none")
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(classifier(x), network(x))
    with pytest.raises(RobauditError, match="not found"):
        load_classifier(str(tmp_path / "a.pt"), arch=f"{tmp_path / 'mine.py'}:other")
    with pytest.raises(RobauditError, match="not found"):
        load_classifier(str(tmp_path / "a.pt"), arch=f"{tmp_path / 'none.py'}:net")


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images("digits")


@pytest.fixture(scope="module")
def trained(digits: Images) -> nn.Module:
    """A network that knows digits, with tanh, average pooling, and inputs in [-1, 1]."""
    torch.manual_seed(0)
    text = "sequential:conv8k3p1 tanh avg2 conv16k3p1 tanh avg2 flatten fcK"
    network = build_architecture(text, classes=10, in_channels=1, image_size=8)
    train = load_images("digits", split="train")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        for rows in torch.arange(1000).split(250):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network((train.float(rows) - 0.5) / 0.5), train.labels[rows])
            loss.backward()
            optimiser.step()
    return network.eval()


def test_structure_and_normalisation_are_chosen_by_accuracy(
    tmp_path: Path, digits: Images, trained: nn.Module
) -> None:
    torch.save(trained.state_dict(), tmp_path / "a.pt")
    classifier = load_classifier(str(tmp_path / "a.pt"), images=digits)
    expected = (trained((digits.float() - 0.5) / 0.5).argmax(1) == digits.labels).float().mean()
    found = (classifier(digits.float()).argmax(1) == digits.labels).float().mean()
    assert expected > 0.9 and found >= expected - 0.01
    assert "avg2" in classifier.info.architecture and classifier.info.normalisation in ("0.5/0.5", "digits")
    assert any("chosen by clean accuracy" in note for note in classifier.info.notes)


def test_near_chance_is_refused(tmp_path: Path, digits: Images) -> None:
    network = build_architecture("digits-cnn", classes=10, in_channels=1, image_size=8)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(RobauditError, match="near chance") as caught:
        load_classifier(str(tmp_path / "a.pt"), images=digits, arch="digits-cnn", normalise="none")
    assert str(caught.value).startswith(str(tmp_path)) and str(caught.value).count("\n") <= 1
    assert (
        load_classifier(str(tmp_path / "a.pt"), images=digits, arch="digits-cnn", force=True).info.classes
        == 10
    )


def test_wrong_number_of_classes_and_channels(tmp_path: Path, digits: Images) -> None:
    save_file(
        build_architecture("digits-cnn", classes=7, in_channels=1, image_size=8).state_dict(),
        tmp_path / "a.safetensors",
    )
    with pytest.raises(RobauditError, match="has 7 classes, digits has 10"):
        load_classifier(str(tmp_path / "a.safetensors"), images=digits)
    save_file(model("resnet20").state_dict(), tmp_path / "b.safetensors")
    with pytest.raises(RobauditError, match="3 channels, the data set has 1"):
        load_classifier(str(tmp_path / "b.safetensors"), images=digits)


@pytest.mark.parametrize(
    "text", ["what", "1,2/3", "0.5/0", "nan/1", "0.5,0.5,0.5", "mnist", "1/2/3", "0.5/-1"]
)
def test_bad_normalisations(tmp_path: Path, text: str) -> None:
    save_file(model("lenet5").state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(RobauditError, match="--normalise"):
        load_classifier(str(tmp_path / "a.safetensors"), normalise=text)


def test_inspect_says_what_else_is_there(tmp_path: Path) -> None:
    state = model("resnet20").state_dict()
    torch.save(
        {"state_dict": state, "epoch": 7, "best_acc": 0.91, "optimizer": {"lr": 0.1}}, tmp_path / "a.pt"
    )
    found = inspect_checkpoint(str(tmp_path / "a.pt"))
    assert found.architectures[0] == "resnet20" and found.classes == 10 and found.input_shape == (3, 32, 32)
    assert dict(found.entries)["epoch"] == "7" and dict(found.states) == {"state_dict": len(state)}


def test_inspect_names_the_nearest_where_nothing_fits(tmp_path: Path) -> None:
    state = model("resnet20").state_dict()
    del state["layer2.1.conv1.weight"]
    torch.save(state, tmp_path / "a.pt")
    found = inspect_checkpoint(str(tmp_path / "a.pt"))
    assert not found.architectures and "resnet20" in dict(found.nearest)


def test_images_of_one_class_only_are_refused() -> None:
    with pytest.raises(RobauditError, match="only one class"):
        make_images(torch.rand(3, 1, 2, 2), torch.zeros(3), name="x", split="test", classes=1)


def test_a_factory_that_fails_inside_says_so_and_not_that_it_is_missing(tmp_path):
    (tmp_path / "nets.py").write_text("def net():\n    return [].shape\n")
    with pytest.raises(
        RobauditError, match=r"net: failed with AttributeError: .*; it is called without arguments"
    ):
        load_classifier(f"{tmp_path / 'nets.py'}:net")


def test_classes_in_another_order_and_outputs_that_are_not_finite_are_named(tmp_path):
    digits = load_images("digits", split="train")
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "from robaudit.inputs import load_classifier\n"
        f"LOADED = load_classifier({str(ADVERSARIAL)!r})\n"
        "class Turned(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return LOADED(x).roll(1, 1)\n"
        "class Broken(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return LOADED(x) / 0 * 0\n"
    )
    with pytest.raises(RobauditError, match="with the classes in another order it is right on 9"):
        load_classifier(f"{tmp_path / 'nets.py'}:Turned", images=digits, normalise="none")
    with pytest.raises(RobauditError, match=r"its outputs are NaN or infinite on \d+ of \d+ images"):
        load_classifier(f"{tmp_path / 'nets.py'}:Broken", images=digits, normalise="none")
