"""What is known of the data sets with a name before anything is read, and without torch."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.spelling import meant, meant_path

#: The split of images that a script had in memory.
IN_MEMORY = "as given"


@dataclass(frozen=True)
class DatasetSpec:
    """The facts of one data set.

    Attributes:
        classes: number of classes.
        shape: (C, H, W) of one image.
        eps_linf: the usual radius in the Linf norm, inputs in [0, 1].
        eps_l2: the usual radius in the L2 norm.
        eps_l1: the usual radius in the L1 norm; None where there is none.
        mean: of the training set's pixels, one a channel.
        std: likewise, pooled over all pixels.
        splits: the names `--split` takes.
        torchvision: the class that downloads it, or empty where there is none.

    """

    classes: int
    shape: tuple[int, int, int]
    eps_linf: float
    eps_l2: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: tuple[str, ...] = ("test", "train")
    torchvision: str = ""
    eps_l1: float | None = None


DATASETS: dict[str, DatasetSpec] = {
    "cifar10": DatasetSpec(
        10, (3, 32, 32), 8 / 255, 0.5, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616),
        torchvision="CIFAR10", eps_l1=12.0,
    ),
    "cifar100": DatasetSpec(
        100, (3, 32, 32), 8 / 255, 0.5, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762),
        torchvision="CIFAR100", eps_l1=12.0,
    ),
    "tiny-imagenet": DatasetSpec(
        200, (3, 64, 64), 8 / 255, 0.5, (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
    ),
    "mnist": DatasetSpec(10, (1, 28, 28), 0.3, 2.0, (0.1307,), (0.3081,), torchvision="MNIST"),
    "fashion-mnist": DatasetSpec(10, (1, 28, 28), 0.1, 1.5, (0.2860,), (0.3530,), torchvision="FashionMNIST"),
    "svhn": DatasetSpec(
        10, (3, 32, 32), 8 / 255, 0.5, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970),
        torchvision="SVHN", eps_l1=12.0,
    ),
    "digits": DatasetSpec(10, (1, 8, 8), 0.1, 0.5, (0.3053,), (0.3760,)),
}  # fmt: skip


def usual_eps(name: str, norm: str) -> float | None:
    """The radius that the data set `name` is usually attacked with in `norm` (Linf, L2 or L1), inputs in [0, 1].

    None where there is no such data set, or no usual radius.
    """
    spec = DATASETS.get(name)
    if spec is None:
        return None
    return {"Linf": spec.eps_linf, "L2": spec.eps_l2, "L1": spec.eps_l1}[norm]


def no_such_data(source: str) -> str:
    """What to say of a data set that is neither known by name nor there."""
    hint = meant(source, DATASETS) or meant_path(source)
    return (
        f"{source}: no such data set, file or folder{hint}; pass one of {', '.join(DATASETS)}, "
        "a folder of class folders, an .npz or a .safetensors file"
    )
