"""Published checkpoints and data sets, where this machine has them (ROBAUDIT_MODELS, ROBAUDIT_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import Images, load_classifier, load_images

MODELS, DATA = os.environ.get("ROBAUDIT_MODELS"), os.environ.get("ROBAUDIT_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not MODELS or not DATA, reason="needs ROBAUDIT_MODELS and ROBAUDIT_DATA"),
]

#: (file, data set, clean accuracy measured independently, architecture).
LOADED = [
    ("cifar10_cnn_a_adv.model", "cifar10", 0.703, "cnn-small"),
    ("cifar10_resnet2b.pth", "cifar10", 0.698, "residual:widths=16"),
    ("cifar10_lenet_masked.pth", "cifar10", 0.562, "lenet5"),
    ("mnist_fgsm.pth", "mnist", 0.979, "cnn-small"),
    ("mnist_cnn_pgd.pt", "mnist", 0.973, "lenet-mnist"),
    ("mnist_smallcnn_trades.pth", "mnist", 0.992, "smallcnn"),
    ("cifar10_resnet20_akamaster.th", "cifar10", 0.917, "resnet20:shortcut=pad"),
]


def split(name: str, limit: int) -> Images:
    return load_images(name, data_dir=Path(DATA or ""), limit=limit)


@pytest.mark.parametrize(("file", "dataset", "accuracy", "architecture"), LOADED)
def test_a_published_checkpoint_loads_with_its_accuracy(
    file: str, dataset: str, accuracy: float, architecture: str
) -> None:
    images = split(dataset, 2000)
    path = str(Path(MODELS or "") / file)
    classifier = load_classifier(path, images=images)
    info = classifier.info
    assert info.architecture.startswith(architecture)
    with torch.no_grad():
        rows = torch.arange(len(images)).split(200)
        right = torch.cat([classifier(images.float(r)).argmax(1) == images.labels[r] for r in rows])
    # The stated figures are of a few hundred other examples: two points, and their own noise.
    assert float(right.float().mean()) == pytest.approx(accuracy, abs=0.045)
    again = load_classifier(path, arch=info.architecture, normalise=info.normalisation)
    assert torch.equal(again(images.float(slice(0, 8))), classifier(images.float(slice(0, 8))))


def test_the_wrong_data_set_is_refused() -> None:
    with pytest.raises(RobauditError, match=r"classes|channels|near chance"):
        load_classifier(str(Path(MODELS or "") / "cifar10_lenet_masked.pth"), images=split("mnist", 300))


def test_a_whole_pickled_module_is_refused() -> None:
    with pytest.raises(RobauditError, match="never unpickled"):
        load_classifier(str(Path(MODELS or "") / "mnist_needs_unsafe_unpickling.pt"))


@pytest.mark.parametrize(
    ("name", "total", "classes"), [("cifar10", 10000, 10), ("cifar100", 10000, 100), ("mnist", 10000, 10)]
)
def test_a_published_data_set(name: str, total: int, classes: int) -> None:
    images = split(name, 3 * classes)
    assert images.total == total and images.classes == classes
    taken = images.labels.bincount(minlength=classes)
    assert taken.sum() == 3 * classes and (taken - 3).abs().max() <= (name == "mnist")  # MNIST is unbalanced


def test_few_images_do_not_make_a_network_blind_that_a_usual_normalisation_makes_see() -> None:
    """24 images prove too little for any normalisation over none, behind which this network guesses."""
    images = load_images("cifar10", data_dir=Path(str(DATA)), limit=24, seed=0)
    info = load_classifier(Path(str(MODELS)) / "cifar10_cnn_a_adv.model", images=images).info
    assert info.architecture == "cnn-small"
    assert info.normalisation == "cifar10"
