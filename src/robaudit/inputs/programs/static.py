"""Operations of programs that were written for one number of images, read for any number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robaudit.inputs.programs.recording import Value


def fitted(value: Any, shape: Sequence[int]) -> list[int]:
    """The shape to give a value, with the size that counts the file's images adapted to the batch's.

    It is expected where the value has its own, but not at the end, where features are. Only a value that depends on the
    images has one: a constant keeps the shape that is asked for.
    """
    sizes = [int(size) for size in shape]
    if not isinstance(value, Value):
        return sizes
    found = [i for i, size in enumerate(value.shape) if size and size % value.batch == 0]
    if not found or len(sizes) < 2 or sizes[min(found[0], len(sizes) - 2)] == -1:
        return sizes
    axis = min(found[0], len(sizes) - 2)
    others = sizes[:axis] + sizes[axis + 1 :]
    if -1 in others:
        adapted = value.batch if sizes[axis] == value.written_for else sizes[axis]
    else:
        adapted, rest = divmod(value.numel(), max(math.prod(others), 1))
        adapted = sizes[axis] if rest else adapted
    return [*sizes[:axis], adapted, *sizes[axis + 1 :]]


def joined(parts: Sequence[Any], axis: int) -> Any:
    """Tensors one after the other along an axis; those with a row for each of the file's images get more rows."""
    values = [part for part in parts if isinstance(part, Value)]
    if not values or axis % values[0].ndim == 0:
        return torch.cat(list(parts), axis)
    rows = max(value.shape[0] for value in values)
    return torch.cat([_with_rows(part, rows, values[0].written_for) for part in parts], axis)


def _with_rows(part: Any, rows: int, written_for: int) -> Any:
    if isinstance(part, Tensor) and part.shape[0] == written_for and rows % written_for == 0:
        return part.repeat(rows // written_for, *[1] * (part.ndim - 1))
    return part
