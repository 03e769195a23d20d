"""What the paper and the field train each data set with (Li et al., Appendix B; Zhang et al. 2019, Section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.training.settings import Augment


@dataclass(frozen=True)
class Preset:
    """Usual values of a data set: the Linf radius and PGD's step in pixel units, epochs, network, augmentation."""

    eps: float
    step_size: float
    epochs: int
    arch: str
    augment: Augment
    batch_size: int = 256
    lr: float = 0.1


_PAPER = Preset(8 / 255, 2 / 255, 200, "resnet18", "crop-flip")

PRESETS: dict[str, Preset] = {
    "cifar10": _PAPER,
    "cifar100": _PAPER,
    "tiny-imagenet": Preset(8 / 255, 2 / 255, 100, "resnet18", "crop-flip"),
    "svhn": Preset(8 / 255, 2 / 255, 200, "resnet18", "crop"),
    # TRADES on MNIST: eps 0.3, steps of 0.01 (x 40) and lr 0.01; here 10 steps of a quarter of the radius.
    "mnist": Preset(
        eps=0.3, step_size=0.075, epochs=50, arch="smallcnn", augment="none", batch_size=128, lr=0.01
    ),
    "fashion-mnist": Preset(
        eps=0.1, step_size=0.025, epochs=50, arch="smallcnn", augment="flip", batch_size=128, lr=0.01
    ),
    # 38,282 weights: an epoch in a second.
    "digits": Preset(
        eps=0.1,
        step_size=0.025,
        epochs=60,
        arch="sequential:conv16k3p1 relu conv32k3s2p1 relu flatten fc64 relu fcK",
        augment="none",
        batch_size=100,
        lr=0.05,
    ),
}


def preset(dataset: str) -> Preset:
    """The data set's own, or the paper's for one that is not known by name."""
    return PRESETS.get(dataset, _PAPER)
