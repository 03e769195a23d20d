"""Images from a user's own files: `.npz` and `.safetensors`. All read in a child process."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robaudit.errors import RobauditError
from robaudit.inputs.data.array_names import image_and_label_names
from robaudit.inputs.data.labels import class_labels
from robaudit.inputs.files.archives import Archive, open_archive
from robaudit.inputs.files.copies import read_copy
from robaudit.inputs.files.safetensors_files import read_safetensors as read_tensors
from robaudit.sandbox import Parts

#: More than this is not read into memory: 8 GiB, twenty times Tiny ImageNet's training set.
LIMIT = 8 << 30
#: Bytes of an array's header, which numpy writes in 128.
_HEADER = 1 << 16


def found(
    pixels: np.ndarray, labels: np.ndarray, classes: int | None = None, class_names: tuple[str, ...] = ()
) -> Parts:
    """What a reader found, as it comes back from a child: pixels (N, C, H, W), labels (N,), classes, their names.

    Without a number of classes it is what the labels tell.
    """
    if classes is None:
        classes = int(labels.max()) + 1 if labels.size else 0
    return {"pixels": pixels, "labels": labels, "classes": classes, "class_names": list(class_names)}


def to_pixels(array: np.ndarray, name: str) -> np.ndarray:
    """(N, C, H, W) of (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float.

    Where either axis could be the channels uint8 has them last, as pictures do, and floats first, as tensors do.

    Raises:
        RobauditError: another type or shape.

    """
    whole = array.dtype == np.uint8
    if not whole and array.dtype.kind != "f":
        raise RobauditError(f"{name}: images are {array.dtype}; expected uint8, or float in [0, 1]")
    if array.ndim == 3:
        array = array[:, None]
    first, last = (array.ndim == 4 and array.shape[axis] in (1, 3, 4) for axis in (1, 3))
    if not (first or last):
        raise RobauditError(
            f"{name}: images of shape {array.shape}; expected (N, H, W), (N, H, W, C) or (N, C, H, W)"
        )
    if last and (whole or not first):
        array = array.transpose(0, 3, 1, 2)
    return array if whole else array.astype(np.float32, copy=False)


def read_arrays(path: Path, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of an `.npz`, whose headers are read and checked before anything is allocated."""
    archive = open_archive(read_copy(path, LIMIT, "an .npz file"), LIMIT)
    pair = image_and_label_names([name.removesuffix(".npy") for name in archive.names], split, str(path))
    images, labels = (_read_array(archive, f"{key}.npy") for key in pair)
    return images, class_labels(labels, str(path))


def _read_array(archive: Archive, name: str) -> np.ndarray:
    path, data = archive.path, archive.read(name, LIMIT)
    try:
        stream = io.BytesIO(data[:_HEADER])
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
    except Exception as error:  # numpy parses the header as Python's literals, and complains in many ways
        raise RobauditError(
            f"{path}: not a readable .npz ({type(error).__name__}); write it with numpy.savez"
        ) from error
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        what = "Python objects, which are never unpickled" if dtype.hasobject else f"{dtype.str[:40]}"
        raise RobauditError(f"{path}: {name} holds {what}; save plain numbers")
    held, size = len(data) - stream.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or held != size:
        raise RobauditError(
            f"{path}: {name} claims {size:,} bytes and holds {held:,}; write it again with numpy.savez"
        )
    array = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_npz(path: Path, split: str = "test") -> Parts:
    """An `.npz` with `images` and `labels`, or other names that `image_and_label_names` knows.

    Raises:
        RobauditError: damaged, too large, or not as `to_pixels` expects.

    """
    images, labels = read_arrays(path, split)
    return found(to_pixels(images, str(path)), labels)


def read_safetensors(path: Path, split: str = "test") -> Parts:
    """A `.safetensors` with `images` and `labels`, or other names that `image_and_label_names` knows.

    Raises:
        RobauditError: damaged, too large, or not as `to_pixels` expects.

    """
    tensors, _ = read_tensors(read_copy(path, LIMIT, "a .safetensors file"))
    pair = image_and_label_names(list(tensors), split, str(path))
    images, labels = (_numbers(tensors[key], key, path) for key in pair)
    return found(to_pixels(images, str(path)), class_labels(labels, str(path)))


def _numbers(tensor: torch.Tensor, key: str, path: Path) -> np.ndarray:
    """A tensor as numpy's; what numpy has no type for is refused."""
    try:
        narrow = tensor.dtype in (torch.bfloat16, torch.float16)
        array: np.ndarray[Any, Any] = (tensor.float() if narrow else tensor).numpy()
    except TypeError as error:
        raise RobauditError(f"{path}: '{key}' is {tensor.dtype}; save uint8 or float32") from error
    if array.dtype.kind not in "biuf":
        raise RobauditError(f"{path}: '{key}' is {tensor.dtype}; save uint8 or float32")
    return array
