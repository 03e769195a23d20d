"""Images from a user's own files: `.npz`, `.safetensors`, a folder of class folders."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images, make_images

#: More than this is not read into memory: 8 GiB, twenty times Tiny ImageNet's training set.
LIMIT = 8 << 30
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def to_pixels(array: np.ndarray, name: str) -> torch.Tensor:
    """(N, C, H, W) of uint8 (N, H, W) or (N, H, W, C), or of float (N, C, H, W)."""
    if array.dtype == np.uint8:
        if array.ndim == 3:
            return torch.from_numpy(array).unsqueeze(1)
        if array.ndim == 4 and array.shape[3] in (1, 3, 4):
            return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
        raise RobauditError(
            f"{name}: uint8 images of shape {array.shape}; expected (N, H, W) or (N, H, W, C)"
        )
    if array.dtype.kind == "f" and array.ndim == 4:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    raise RobauditError(
        f"{name}: images are {array.dtype} of shape {array.shape}; "
        "expected uint8 (N, H, W[, C]) or float (N, C, H, W) in [0, 1]"
    )


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`images` and `labels` of an `.npz`, whose headers are read and checked before anything is allocated."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            for key in ("images", "labels"):
                if f"{key}.npy" not in members:
                    raise RobauditError(f"{path}: holds no '{key}'; expected arrays 'images' and 'labels'")
            images, labels = (
                _read_array(path, archive, members[f"{key}.npy"]) for key in ("images", "labels")
            )
    except RobauditError:
        raise
    except Exception as error:
        raise RobauditError(
            f"{path}: not a readable .npz ({type(error).__name__}); write it with numpy.savez"
        ) from error
    if labels.dtype.kind not in "iu":
        raise RobauditError(f"{path}: labels are {labels.dtype}; expected whole numbers")
    return images, labels.astype(np.int64)


def _read_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
        header = stream.tell()
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise RobauditError(
            f"{path}: {member.filename} holds Python objects, which are never unpickled; save plain numbers"
        )
    if size > LIMIT or header + size != member.file_size:
        raise RobauditError(
            f"{path}: {member.filename} claims {size:,} bytes and holds {member.file_size - header:,}; "
            f"write it again with numpy.savez (at most {LIMIT >> 30} GiB)"
        )
    with archive.open(member) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _classes(labels: torch.Tensor) -> int:
    return int(labels.max()) + 1 if labels.numel() else 0


def read_npz(path: Path, split: str) -> Images:
    """An `.npz` with `images` and `labels`.

    Raises:
        RobauditError: damaged, too large, or not as `to_pixels` expects.

    """
    images, labels = read_arrays(path)
    found = torch.from_numpy(labels)
    return make_images(
        to_pixels(images, str(path)), found, name=str(path), split=split, classes=_classes(found)
    )


def read_safetensors(path: Path, split: str) -> Images:
    """A `.safetensors` with `images` and `labels`.

    Raises:
        RobauditError: damaged, too large, or not as `to_pixels` expects.

    """
    if path.stat().st_size > LIMIT:
        raise RobauditError(f"{path}: larger than {LIMIT >> 30} GiB; pass a part of it")
    try:
        with safe_open(str(path), "numpy") as content:
            missing = {"images", "labels"} - set(content.keys())
            if missing:
                raise RobauditError(
                    f"{path}: holds no '{min(missing)}'; expected tensors 'images' and 'labels'"
                )
            images, labels = content.get_tensor("images"), content.get_tensor("labels")
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise RobauditError(
            f"{path}: not a readable .safetensors file; write it with safetensors.numpy.save_file"
        ) from error
    found = torch.from_numpy(labels)
    return make_images(
        to_pixels(images, str(path)), found, name=str(path), split=split, classes=_classes(found)
    )


def decode(paths: list[Path], channels: int | None = None) -> torch.Tensor:
    """Image files of one size as (N, C, H, W) uint8; C is 1 only where the first file is greyscale.

    Raises:
        RobauditError: a file is no image, or sizes differ, or there are too many.

    """
    stack: np.ndarray | None = None
    for row, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                channels = channels or (1 if image.mode in ("1", "L", "I;16") else 3)
                pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        except Exception as error:
            raise RobauditError(
                f"{path}: not a readable image ({type(error).__name__}); remove or replace it"
            ) from error
        if stack is None:
            if len(paths) * pixels.size > LIMIT:
                raise RobauditError(
                    f"{path.parent}: its images exceed {LIMIT >> 30} GiB; pass a folder with fewer"
                )
            stack = np.empty((len(paths), *pixels.shape), np.uint8)
        if pixels.shape != stack.shape[1:]:
            raise RobauditError(
                f"{path}: size {pixels.shape[:2]} differs from the first image's {stack.shape[1:3]}; resize them"
            )
        stack[row] = pixels
    assert stack is not None
    return to_pixels(stack, "images")


def read_folder(path: Path, split: str) -> Images:
    """A folder with one folder of images a class; classes are numbered in the order of their names.

    A subfolder called as `split` is taken instead, where there is one.

    Raises:
        RobauditError: fewer than two class folders, or an unreadable image.

    """
    root = path / split if (path / split).is_dir() else path
    folders = sorted(
        folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    )
    listing = [(file, label) for label, folder in enumerate(folders) for file in _image_files(folder)]
    if len({label for _, label in listing}) < 2:
        raise RobauditError(f"{root}: holds no two folders of images; expected one folder a class")
    pixels = decode([file for file, _ in listing])
    labels = torch.tensor([label for _, label in listing])
    names = tuple(folder.name for folder in folders)
    return make_images(pixels, labels, name=str(path), split=split, classes=len(folders), class_names=names)


def _image_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
