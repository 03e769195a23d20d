"""Images and labels in memory, whatever their layout, as tensors (N, C, H, W) and (N,)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import class_labels

#: Usual numbers of channels, and those that a picture or an array of them may end with.
_CHANNELS, _LAST = (1, 3), (1, 3, 4)


def as_array(value: object) -> Any:
    """A tensor on the CPU without its history, or an array; a picture becomes one."""
    return value.detach().cpu() if isinstance(value, torch.Tensor) else np.asarray(value)


def _tensor(found: torch.Tensor | np.ndarray) -> torch.Tensor:
    """The same numbers; copied only where torch cannot use an array's memory.

    Raises:
        TypeError: an array of no numbers.

    """
    return found if isinstance(found, torch.Tensor) else torch.from_numpy(np.require(found, None, ["C", "W"]))


def channels_first(found: torch.Tensor | np.ndarray, name: str) -> torch.Tensor:
    """(N, C, H, W). Bytes may be (N, H, W) or (N, H, W, C) too, as pictures and arrays of them are."""
    is_array = isinstance(found, np.ndarray)
    try:
        pixels = _tensor(found)
    except TypeError as error:
        raise RobauditError(
            f"{name}: images are {found.dtype}; expected uint8, or float in [0, 1]"
        ) from error
    shape = tuple(pixels.shape)
    if pixels.dtype == torch.uint8 and len(shape) == 3:
        return pixels.unsqueeze(1)
    if len(shape) == 4 and shape[3] in _LAST and (shape[1] not in _CHANNELS or is_array):
        if pixels.dtype == torch.uint8:
            return pixels.permute(0, 3, 1, 2).contiguous()
        if shape[1] not in _CHANNELS:
            raise RobauditError(
                f"{name}: images have shape {shape}, channels last; expected (N, C, H, W): permute(0, 3, 1, 2)"
            )
    if len(shape) == 3 and len(pixels):
        raise RobauditError(
            f"{name}: images have shape {shape}; expected (N, C, H, W): unsqueeze(1) for grey images, "
            "unsqueeze(0) for a single one"
        )
    return pixels


def compact(pixels: torch.Tensor) -> torch.Tensor:
    """Floats that are bytes / 255 as those bytes: the same numbers, a quarter of the memory, the same digest."""
    if not pixels.is_floating_point():
        return pixels
    exact = pixels.float()
    as_bytes = exact.mul(255).round().nan_to_num(0, 0, 0).clamp(0, 255).to(torch.uint8)
    return as_bytes if torch.equal(as_bytes.float().div(255), exact) else exact


def class_indices(labels: object, count: int, name: str) -> torch.Tensor:
    """(N,) int64 of class indices (N,) or (N, 1), or one-hot labels (N, K)."""
    try:
        found = _tensor(as_array(labels))
    except (TypeError, ValueError) as error:
        raise RobauditError(
            f"{name}: labels are not whole numbers; give class indices 0, 1, 2, ..."
        ) from error
    if found.ndim == 2 and len(found) == count:
        found = torch.from_numpy(class_labels(found.numpy(), name))
    if found.shape != (count,):
        raise RobauditError(
            f"{name}: {count} images but labels of shape {tuple(found.shape)}; give one label an image"
        )
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        kind = str(found.dtype).removeprefix("torch.")
        raise RobauditError(f"{name}: labels are {kind}; give class indices as whole numbers: labels.long()")
    if len(found) and int(found.min()) < 0:
        raise RobauditError(f"{name}: labels go down to {int(found.min())}; give class indices from 0")
    return found.long()
