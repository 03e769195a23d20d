"""Readers of the named data sets' published files, in the layout torchvision keeps them in.

Nothing is executed: CIFAR's files are Python pickles and are read by an unpickler that knows the three
names a numpy array needs and no other.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images, make_images
from robaudit.inputs.data.user_files import decode, read_arrays, to_pixels

#: No published file of these sets is larger once read.
LIMIT = 1 << 30
#: SVHN's largest part, `extra`, has 531,131 images of 3,072 bytes.
SVHN_LIMIT = 2 << 30


class Absent(Exception):  # noqa: N818  a state of the disk, turned into an error or a download by the caller
    """The files of a data set are not in its folder; the message names what is missing."""


class _ArrayUnpickler(pickle.Unpickler):
    """Python's unpickler with every name shut but those of a plain numpy array."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }:
            return _reconstruct()
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _reconstruct() -> Any:
    from numpy._core import multiarray  # noqa: PLC0415  private, and where numpy 2 keeps it

    return multiarray._reconstruct


def _cifar_batch(path: Path, label_key: bytes) -> tuple[np.ndarray, np.ndarray]:
    if path.stat().st_size > LIMIT:
        raise RobauditError(f"{path}: larger than any CIFAR batch; download it again")
    try:
        batch = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        data, labels = batch[b"data"], np.asarray(batch[label_key], dtype=np.int64)
        pixels = np.ascontiguousarray(data, dtype=np.uint8).reshape(len(labels), 3, 32, 32)
    except Exception as error:
        raise RobauditError(
            f"{path}: not a CIFAR batch ({type(error).__name__}); download it again"
        ) from error
    return pixels, labels


def _cifar(name: str, paths: list[Path], label_key: bytes, split: str, classes: int) -> Images:
    for path in paths:
        if not path.is_file():
            raise Absent(f"{path.parent.name}/{path.name}")
    batches = [_cifar_batch(path, label_key) for path in paths]
    pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in batches]))
    labels = torch.from_numpy(np.concatenate([labels for _, labels in batches]))
    names = CIFAR10_NAMES if classes == 10 else ()
    return make_images(pixels, labels, name=name, split=split, classes=classes, class_names=names)


CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION_NAMES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def cifar10(root: Path, split: str) -> Images:
    """CIFAR-10 (Krizhevsky 2009): 10,000 test or 50,000 train images (3, 32, 32)."""
    names = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    folder = root / "cifar-10-batches-py"
    return _cifar("cifar10", [folder / name for name in names], b"labels", split, 10)


def cifar100(root: Path, split: str) -> Images:
    """CIFAR-100 (Krizhevsky 2009): 10,000 test or 50,000 train images (3, 32, 32), fine labels."""
    return _cifar("cifar100", [root / "cifar-100-python" / split], b"fine_labels", split, 100)


def _idx(path: Path) -> np.ndarray:
    """An array in LeCun's idx format (unsigned bytes), plain or gzipped; sizes are checked first."""
    packed = path.with_name(path.name + ".gz")
    if path.is_file():
        with path.open("rb") as stream:
            data = stream.read(LIMIT)
    elif packed.is_file():
        try:
            with gzip.open(packed) as stream:
                data = stream.read(LIMIT)
        except (OSError, EOFError) as error:
            raise RobauditError(f"{packed}: not a gzip file; download it again") from error
    else:
        raise Absent(f"{path.parent.parent.name}/raw/{path.name}")
    shape = tuple(
        int(n) for n in np.frombuffer(data[4 : 4 + 4 * (data[3] if len(data) > 3 else 0)], dtype=">u4")
    )
    if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * len(shape) + int(np.prod(shape, dtype=object)):
        raise RobauditError(f"{path}: not an idx file of bytes, or cut short; download it again")
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()


def _idx_pair(name: str, root: Path, folders: list[Path], split: str, class_names: tuple[str, ...]) -> Images:
    stem = "t10k" if split == "test" else "train"
    # MNIST and Fashion-MNIST share their files' names, so the data folder itself must say which it holds.
    itself = [root] if root.name.lower().replace("-", "").replace("_", "") == name.replace("-", "") else []
    found = (each for each in [*folders, *itself] if any(each.glob(f"{stem}-images-idx3-ubyte*")))
    folder = next(found, folders[0])
    pixels = _idx(folder / f"{stem}-images-idx3-ubyte")
    labels = _idx(folder / f"{stem}-labels-idx1-ubyte")
    return make_images(
        to_pixels(pixels, name),
        torch.from_numpy(labels),
        name=name,
        split=split,
        classes=10,
        class_names=class_names,
    )


def mnist(root: Path, split: str) -> Images:
    """MNIST (LeCun et al. 1998): 10,000 test or 60,000 train images (1, 28, 28); idx files or mnist-SPLIT.npz."""
    packed = root / f"mnist-{split}.npz"
    if packed.is_file():
        pixels, labels = read_arrays(packed)
        return make_images(
            to_pixels(pixels, str(packed)), torch.from_numpy(labels), name="mnist", split=split, classes=10
        )
    return _idx_pair("mnist", root, [root / "MNIST" / "raw", root / "mnist"], split, ())


def fashion_mnist(root: Path, split: str) -> Images:
    """Fashion-MNIST (Xiao et al. 2017, https://arxiv.org/abs/1708.07747): sizes as MNIST.

    Either in torchvision's folder or in `fashion-mnist`, as Debian's dataset-fashion-mnist has it.
    """
    return _idx_pair(
        "fashion-mnist",
        root,
        [root / "FashionMNIST" / "raw", root / "fashion-mnist"],
        split,
        FASHION_NAMES,
    )


def svhn(root: Path, split: str) -> Images:
    """SVHN (Netzer et al. 2011), cropped digits: 26,032 test or 73,257 train images (3, 32, 32)."""
    from scipy.io import loadmat, whosmat  # noqa: PLC0415  only this set needs it

    found = [
        path for path in (root / f"{split}_32x32.mat", root / "svhn" / f"{split}_32x32.mat") if path.is_file()
    ]
    if not found:
        raise Absent(f"{split}_32x32.mat")
    try:
        claimed = sum(math.prod(shape) for _, shape, _ in whosmat(str(found[0])))  # of bytes
        if max(claimed, found[0].stat().st_size) > SVHN_LIMIT:
            raise ValueError("too large")
        content = loadmat(str(found[0]), variable_names=["X", "y"])
        pixels = torch.from_numpy(np.ascontiguousarray(np.transpose(content["X"], (3, 2, 0, 1))))
        labels = torch.from_numpy(content["y"].astype(np.int64).reshape(-1) % 10)  # the file writes 0 as 10
    except Exception as error:
        raise RobauditError(
            f"{found[0]}: not SVHN's .mat file ({type(error).__name__}); download it again"
        ) from error
    return make_images(pixels, labels, name="svhn", split=split, classes=10)


def tiny_imagenet(root: Path, split: str) -> Images:
    """Tiny ImageNet (Stanford CS231n): 10,000 validation (`test`) or 100,000 train images (3, 64, 64)."""
    folder = root / "tiny-imagenet-200"
    listing = folder / "wnids.txt"
    if not listing.is_file():
        raise Absent("tiny-imagenet-200/wnids.txt")
    wnids = tuple(sorted(listing.read_text().split()))
    index = {wnid: label for label, wnid in enumerate(wnids)}
    if split == "train":
        paths = [
            (path, index[wnid])
            for wnid in wnids
            for path in sorted((folder / "train" / wnid).rglob("*.JPEG"))
        ]
    else:
        notes = folder / "val" / "val_annotations.txt"
        if not notes.is_file():
            raise Absent("tiny-imagenet-200/val/val_annotations.txt")
        rows = [line.split("\t")[:2] for line in notes.read_text().splitlines() if line.strip()]
        paths = [(folder / "val" / "images" / name, index[wnid]) for name, wnid in rows if wnid in index]
    if not paths or not paths[0][0].is_file():
        raise Absent(f"tiny-imagenet-200/{'train' if split == 'train' else 'val'} images")
    pixels = decode([path for path, _ in paths], channels=3)
    labels = torch.tensor([label for _, label in paths])
    return make_images(
        pixels, labels, name="tiny-imagenet", split=split, classes=len(wnids), class_names=wnids
    )


def digits(root: Path, split: str) -> Images:
    """Scikit-learn's handwritten digits (Alpaydin & Kaynak 1998): 797 test, 1,000 train images (1, 8, 8).

    Values are sixteenths. The split is a fixed stratified shuffle; nothing is read from `root`.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  slow to import
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    content = load_digits()
    train, test = train_test_split(
        np.arange(len(content.target)),
        train_size=1000,
        test_size=797,
        stratify=content.target,
        random_state=0,
    )
    rows = test if split == "test" else train
    pixels = torch.from_numpy(content.images[rows].astype(np.float32) / 16).unsqueeze(1)
    labels = torch.from_numpy(content.target[rows].astype(np.int64))
    return make_images(pixels, labels, name="digits", split=split, classes=10)
