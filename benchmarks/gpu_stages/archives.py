"""Data sets as archives of at most 50 MB, lossless: columns of images in WebP's lossless coding, labels as bytes.

`pack` writes them, `data_folder` finds the data sets in a folder or unpacks them from the archives there. What comes
out is bit for bit what `load_images` read, in the layout in which it reads named data sets.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features

from gpu_stages.results import write_whole
from robaudit.errors import RobauditError
from robaudit.inputs import DATASETS, load_images

Bytes = NDArray[np.uint8]
#: Bytes of an archive at most, and images of a column: with more or fewer the coding gets worse.
MOST_BYTES, COLUMN = 50_000_000, 128
#: WebP's effort: its best method, and half of its search, which costs a tenth of the time and 0.1 % of the size.
_CODING = {"lossless": True, "quality": 50, "method": 6}


@dataclass(frozen=True)
class Split:
    """One split of a named data set, and which archives hold it."""

    dataset: str
    split: str
    archives: tuple[str, ...]


#: The test splits first: an archive that holds one whole is enough for a stage that trains nothing.
SPLITS = (
    Split("cifar100", "test", ("cifar100-1.zip",)),
    Split("cifar100", "train", ("cifar100-1.zip", "cifar100-2.zip")),
    Split("cifar10", "test", ("tests.zip",)),
    Split("mnist", "test", ("tests.zip",)),
)
ARCHIVES = tuple(dict.fromkeys(name for item in SPLITS for name in item.archives))


def pack(data_dir: Path, destination: Path, cifar100: dict[str, int | None] | None = None) -> list[Path]:
    """Write the archives of the data sets in `data_dir` into `destination`.

    CIFAR-100 must be there; CIFAR-10 and MNIST, for checkpoints of them, are taken where they are.

    Args:
        data_dir: holds the data sets.
        destination: made where it is missing.
        cifar100: how many images of each of its splits, class-balanced; by default all.

    Raises:
        RobauditError: CIFAR-100 is not there, or an archive would be too large.

    """
    destination.mkdir(parents=True, exist_ok=True)
    members: dict[str, dict[str, bytes]] = {}
    for item in SPLITS:
        try:
            limit = (cifar100 or {}).get(item.split) if item.dataset == "cifar100" else None
            pixels, labels = _read(item, data_dir, limit)
        except RobauditError:
            if item.dataset == "cifar100":
                raise
            print(f"{item.dataset}: not in {data_dir}, left out")
            continue
        members.setdefault(item.dataset, {}).update(_members(item, pixels, labels))
    halves = _halves(members.pop("cifar100"))
    others = {name: data for found in members.values() for name, data in found.items()}
    written = []
    for name, content in zip(ARCHIVES, (*halves, others), strict=True):
        if not content:
            continue
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for member, data in content.items():
                archive.writestr(zipfile.ZipInfo(member), data)
        if len(buffer.getvalue()) > MOST_BYTES:
            raise RobauditError(
                f"{name}: {len(buffer.getvalue())} bytes, more than {MOST_BYTES}; pack fewer images"
            )
        write_whole(destination / name, buffer.getvalue())
        written.append(destination / name)
    return written


def _read(item: Split, data_dir: Path, limit: int | None) -> tuple[Bytes, Bytes]:
    """(N, C, H, W) and (N,), at most `limit`, in the order of the split."""
    images = load_images(item.dataset, data_dir=data_dir, split=item.split, limit=limit, seed=0)
    order = torch.argsort(images.ids)
    return images.pixels[order].numpy(), images.labels[order].numpy().astype(np.uint8)


def _members(item: Split, pixels: Bytes, labels: Bytes) -> dict[str, bytes]:
    starts = range(0, len(pixels), COLUMN)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        columns = list(pool.map(lambda k: encode(pixels[k : k + COLUMN]), starts))
    named = {_column(item, number): data for number, data in enumerate(columns)}
    return {_labels(item): labels.tobytes()} | named


def _labels(item: Split) -> str:
    return f"{item.dataset}/{item.split}/labels"


def _column(item: Split, number: int) -> str:
    return f"{item.dataset}/{item.split}/{number:05d}.webp"


def _halves(members: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The first members that hold about half of the bytes, all of the test split among them, and the others."""
    total, so_far, first = sum(map(len, members.values())), 0, []
    for name, data in members.items():
        if so_far + len(data) / 2 > total / 2 and "/test/" not in name:
            break
        so_far += len(data)
        first.append(name)
    return {name: members[name] for name in first}, {n: d for n, d in members.items() if n not in set(first)}


def encode(pixels: Bytes) -> bytes:
    """(n, C, H, W), C of 1 or 3, as one column of images."""
    n, channels, height, width = pixels.shape
    column = np.broadcast_to(
        pixels.transpose(0, 2, 3, 1), (n, height, width, 3 if channels == 1 else channels)
    )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(column).reshape(n * height, width, 3)).save(
        buffer, "WEBP", **_CODING
    )
    return buffer.getvalue()


def decode(data: bytes, shape: tuple[int, int, int]) -> Bytes:
    """(n, C, H, W) of `encode`, where (C, H, W) is `shape`.

    Raises:
        ValueError: it is no such column.

    """
    channels, height, width = shape
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        if image.width != width or image.height % height or image.height > height * COLUMN:
            raise ValueError(f"a column of {image.width} x {image.height}")
        column = np.asarray(image.convert("RGB"))
    images = column.reshape(-1, height, width, 3).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images[:, :channels])


def data_folder(data_dir: Path, scratch: Path, wanted: dict[str, tuple[str, ...]]) -> Path:
    """Where `load_images` finds the wanted splits: `data_dir` itself, or `scratch` with them unpacked.

    Args:
        data_dir: holds the data sets, or the archives of `pack`.
        scratch: gets what is unpacked.
        wanted: splits by the name of their data set.

    Raises:
        RobauditError: an archive is missing or damaged. A data set of which there is no archive is left to
            `load_images` to miss.

    """
    there = {name for name in ARCHIVES if (data_dir / name).is_file()}
    asked = [item for item in SPLITS if item.split in wanted.get(item.dataset, ())]
    asked = [item for item in asked if there & set(item.archives)]
    if not asked:
        return data_dir
    if not features.check("webp"):
        raise RobauditError("Pillow: is built without WebP here; install one with it, or take the data sets")
    for item in asked:
        missing = [name for name in item.archives if name not in there]
        if missing:
            raise RobauditError(f"{data_dir / missing[0]}: is missing; put it beside {sorted(there)[0]}")
        pixels, labels = _unpacked(item, data_dir)
        _WRITE[item.dataset](scratch, item.split, pixels, labels)
    return scratch


def _unpacked(item: Split, data_dir: Path) -> tuple[Bytes, Bytes]:
    shape = DATASETS[item.dataset].shape
    found: dict[str, bytes] = {}
    try:
        for name in item.archives:
            with zipfile.ZipFile(data_dir / name) as archive:
                names = [n for n in archive.namelist() if n.startswith(f"{item.dataset}/{item.split}/")]
                found |= {member: archive.read(member) for member in names}
        labels = np.frombuffer(found[_labels(item)], dtype=np.uint8)
        count = -(-len(labels) // COLUMN)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            columns = list(pool.map(lambda k: decode(found[_column(item, k)], shape), range(count)))
        pixels = np.concatenate(columns)
        if len(pixels) != len(labels):
            raise ValueError("images and labels differ in number")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RobauditError(f"{data_dir / item.archives[-1]}: is damaged ({reason}); pack again") from error
    return pixels, labels


def _write_cifar(path: Path, key: bytes, pixels: Bytes, labels: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    batch = {b"data": pixels.reshape(len(pixels), -1), key: labels.tolist()}
    path.write_bytes(pickle.dumps(batch, protocol=4))


def _cifar100(folder: Path, split: str, pixels: Bytes, labels: Bytes) -> None:
    _write_cifar(folder / "cifar-100-python" / split, b"fine_labels", pixels, labels)


def _cifar10(folder: Path, split: str, pixels: Bytes, labels: Bytes) -> None:
    _write_cifar(folder / "cifar-10-batches-py" / f"{split}_batch", b"labels", pixels, labels)


def _mnist(folder: Path, split: str, pixels: Bytes, labels: Bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"mnist-{split}.npz", images=pixels[:, 0], labels=labels)


_WRITE: dict[str, Callable[[Path, str, Bytes, Bytes], None]] = {
    "cifar100": _cifar100,
    "cifar10": _cifar10,
    "mnist": _mnist,
}


def sizes(paths: list[Path]) -> Iterator[str]:
    """A line for each archive."""
    for path in paths:
        yield f"{path}  {path.stat().st_size / 1e6:.2f} MB"
