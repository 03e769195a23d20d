"""Readers of the named data sets' published files, in the layout torchvision keeps them in.

They run in a child process, and nothing in a file is executed: CIFAR's files are Python pickles and are read as data,
by a table that knows numpy's arrays of bytes.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from robaudit.errors import RobauditError
from robaudit.inputs.data.pictures import decode
from robaudit.inputs.data.user_files import LIMIT, found, read_arrays, to_pixels
from robaudit.inputs.files.copies import FileCopy, read_copy
from robaudit.inputs.files.pickles import UnsafePickle, read_pickle
from robaudit.inputs.files.plain_objects import PLAIN, Array
from robaudit.sandbox import Parts

#: No published file of these sets is larger once read.
LARGEST = 1 << 30
#: SVHN's largest part, `extra`, has 531,131 images of 3,072 bytes.
SVHN_LIMIT = 2 << 30
#: Bytes of a list of names.
LIST = 16 << 20


class Absent(Exception):  # noqa: N818  a state of the disk, turned into an error or a download by the caller
    """The files of a data set are not in its folder; the message names what is missing."""


def _cifar_batch(path: Path, label_key: bytes) -> tuple[np.ndarray, np.ndarray]:
    copy = read_copy(path, LARGEST, "a CIFAR batch")
    try:
        batch, names, _ = read_pickle(copy.data, 0, PLAIN, texts=False)
        data, labels = (
            (batch.get(key) for key in (b"data", label_key)) if isinstance(batch, dict) else (None, None)
        )
        strange = sorted(
            name.replace(" ", ".") for name in names if name not in PLAIN and name != "numpy ndarray"
        )
        if strange:
            raise UnsafePickle(f"it names {strange[0][:80]}")
        if not isinstance(data, Array) or not isinstance(labels, list):
            raise UnsafePickle("no array of pixels, or no list of labels")
        if not all(type(label) is int and 0 <= label < 1000 for label in labels):
            raise UnsafePickle("a label is not a class")
        pixels = data.array()
        if pixels.dtype != np.uint8:
            raise UnsafePickle(f"its pixels are {pixels.dtype}")
        return pixels.reshape(len(labels), 3, 32, 32), np.array(labels, dtype=np.int64)
    except (UnsafePickle, ValueError, TypeError) as error:
        raise RobauditError(f"{path}: not a CIFAR batch ({error}); download it again") from error


def _cifar(paths: list[Path], label_key: bytes, classes: int) -> Parts:
    for path in paths:
        if not path.is_file():
            raise Absent(f"{path.parent.name}/{path.name}")
    batches = [_cifar_batch(path, label_key) for path in paths]
    pixels, labels = (np.concatenate(each) for each in zip(*batches, strict=True))
    return found(pixels, labels, classes, CIFAR10_NAMES if classes == 10 else ())


CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION_NAMES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def cifar10(root: Path, split: str) -> Parts:
    """CIFAR-10 (Krizhevsky 2009): 10,000 test or 50,000 train images (3, 32, 32)."""
    names = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    folder = root / "cifar-10-batches-py"
    return _cifar([folder / name for name in names], b"labels", 10)


def cifar100(root: Path, split: str) -> Parts:
    """CIFAR-100 (Krizhevsky 2009): 10,000 test or 50,000 train images (3, 32, 32), fine labels."""
    return _cifar([root / "cifar-100-python" / split], b"fine_labels", 100)


def _idx(path: Path) -> np.ndarray:
    """An array in LeCun's idx format (unsigned bytes), plain or gzipped; sizes are checked first."""
    packed = path.with_name(path.name + ".gz")
    if not path.is_file() and not packed.is_file():
        raise Absent(f"{path.parent.parent.name}/raw/{path.name}")
    copy = read_copy(path if path.is_file() else packed, LARGEST, "an idx file")
    data = copy.data if path.is_file() else _unpacked(copy)
    dimensions = data[3] if len(data) > 3 else 0
    shape = tuple(int(n) for n in np.frombuffer(data[4 : 4 + 4 * dimensions], dtype=">u4"))
    if bytes(data[:3]) != b"\0\0\x08" or len(data) != 4 + 4 * dimensions + math.prod(shape):
        raise RobauditError(f"{path}: not an idx file of bytes, or cut short; download it again")
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _unpacked(copy: FileCopy) -> memoryview:
    """What a gzip file holds, as far as an idx file's header says how much that is."""
    try:
        with gzip.open(copy.stream()) as stream:
            head = stream.read(4)
            head += stream.read(4 * head[3]) if len(head) == 4 else b""
            size = math.prod(int(n) for n in np.frombuffer(head[4:], dtype=">u4"))
            return memoryview(head + stream.read(min(size, LARGEST) + 1))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RobauditError(f"{copy.path}: not a gzip file; download it again") from error


def _idx_pair(name: str, root: Path, folders: list[Path], split: str, class_names: tuple[str, ...]) -> Parts:
    stem = "t10k" if split == "test" else "train"
    # MNIST and Fashion-MNIST share their files' names, so the data folder itself must say which it holds.
    itself = [root] if root.name.lower().replace("-", "").replace("_", "") == name.replace("-", "") else []
    there = (each for each in [*folders, *itself] if any(each.glob(f"{stem}-images-idx3-ubyte*")))
    folder = next(there, folders[0])
    pixels = _idx(folder / f"{stem}-images-idx3-ubyte")
    labels = _idx(folder / f"{stem}-labels-idx1-ubyte")
    return found(to_pixels(pixels, name), labels, 10, class_names)


def mnist(root: Path, split: str) -> Parts:
    """MNIST (LeCun et al. 1998): 10,000 test or 60,000 train images (1, 28, 28); idx files or mnist-SPLIT.npz."""
    packed = root / f"mnist-{split}.npz"
    if packed.is_file():
        pixels, labels = read_arrays(packed, split)
        return found(to_pixels(pixels, str(packed)), labels, 10)
    return _idx_pair("mnist", root, [root / "MNIST" / "raw", root / "mnist"], split, ())


def fashion_mnist(root: Path, split: str) -> Parts:
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


def svhn(root: Path, split: str) -> Parts:
    """SVHN (Netzer et al. 2011), cropped digits: 26,032 test or 73,257 train images (3, 32, 32)."""
    from scipy.io import loadmat, whosmat  # noqa: PLC0415  only this set needs it

    files = (root / f"{split}_32x32.mat", root / "svhn" / f"{split}_32x32.mat")
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        raise Absent(f"{split}_32x32.mat")
    copy = read_copy(path, SVHN_LIMIT, "SVHN's .mat file")
    try:
        wanted = {name: (shape, kind) for name, shape, kind in whosmat(copy.stream()) if name in ("X", "y")}
        (shape, kind), (count, numbers) = wanted["X"], wanted["y"]
        if (
            kind != "uint8"
            or not re.fullmatch(r"u?int\d+|single|double", numbers)
            or shape[:3] != (32, 32, 3)
        ):
            raise ValueError("no images of bytes")
        if math.prod(shape) > SVHN_LIMIT or math.prod(count) != shape[3]:
            raise ValueError("too large")
        content = loadmat(copy.stream(), variable_names=["X", "y"])
        pixels = np.transpose(content["X"], (3, 2, 0, 1))
        labels = content["y"].astype(np.int64).reshape(-1) % 10  # the file writes 0 as 10
    except Exception as error:
        raise RobauditError(
            f"{path}: not SVHN's .mat file ({type(error).__name__}); download it again"
        ) from error
    return found(pixels, labels, 10)


def tiny_imagenet(root: Path, split: str) -> Parts:
    """Tiny ImageNet (Stanford CS231n): 10,000 validation (`test`) or 100,000 train images (3, 64, 64)."""
    folder = root / "tiny-imagenet-200"
    listing = folder / "wnids.txt"
    if not listing.is_file():
        raise Absent("tiny-imagenet-200/wnids.txt")
    wnids = tuple(sorted(_text(listing).split()))
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
        rows = [line.split("\t")[:2] for line in _text(notes).splitlines() if line.strip()]
        paths = [
            (folder / "val" / "images" / Path(name).name, index[wnid])  # a list names no other folder
            for name, wnid in (row for row in rows if len(row) == 2)
            if wnid in index
        ]
    if not paths or not paths[0][0].is_file():
        raise Absent(f"tiny-imagenet-200/{'train' if split == 'train' else 'val'} images")
    pixels = decode([path for path, _ in paths], LIMIT, channels=3)
    labels = np.array([label for _, label in paths])
    return found(to_pixels(pixels, "tiny-imagenet"), labels, len(wnids), wnids)


def _text(path: Path) -> str:
    return str(read_copy(path, LIST, "a list of names").data, "utf-8", "replace")


def digits(root: Path, split: str) -> Parts:
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
    pixels = content.images[rows].astype(np.float32)[:, None] / 16
    return found(pixels, content.target[rows].astype(np.int64), 10)
