"""ONNX's operators that move, cut and make tensors, and the helpers that all operators share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from robaudit.errors import RobauditError
from robaudit.inputs.programs.aten.shapes import cut
from robaudit.inputs.programs.recording import Value
from robaudit.inputs.programs.sizes import bounded, short
from robaudit.inputs.programs.static import fitted

Values = list[Any]
Attributes = dict[str, Any]


def as_list(value: Any) -> list[int]:
    """Whole numbers of a tensor or sequence.

    Raises:
        RobauditError: they depend on the numbers of an image.

    """
    if isinstance(value, Value):
        raise RobauditError("takes a shape from the numbers of an image; export it without")
    items = short(value)
    return [int(n) for n in (items.flatten().tolist() if isinstance(items, torch.Tensor) else items)]


def given(x: Values, i: int, a: Attributes, name: str, default: Any = None) -> Any:
    """A parameter that newer operator sets pass as input `i` and older ones as attribute."""
    return x[i] if len(x) > i and x[i] is not None else a.get(name, default)


def reshape(x: Values, a: Attributes) -> torch.Tensor:
    """To a given shape; a leading number of images that the graph was exported for becomes the batch's."""
    shape = as_list(given(x, 1, a, "shape"))
    image = x[0]
    shape = [image.shape[i] if size == 0 and not a.get("allowzero") else size for i, size in enumerate(shape)]
    return image.reshape(bounded(fitted(image, shape)))


def squeeze(x: Values, a: Attributes) -> torch.Tensor:
    """Without dimensions of size 1: all, or those that are said."""
    axes = given(x, 1, a, "axes")
    result: torch.Tensor = x[0].squeeze() if axes is None else x[0].squeeze(tuple(as_list(axes)))
    return result


def unsqueeze(x: Values, a: Attributes) -> torch.Tensor:
    """With dimensions of size 1."""
    axes = as_list(given(x, 1, a, "axes"))
    result: torch.Tensor = x[0]
    for axis in sorted(n % (result.ndim + len(axes)) for n in axes):
        result = result.unsqueeze(axis)
    return result


def sliced(x: Values, a: Attributes) -> torch.Tensor:
    """Part of each axis."""
    starts, ends = as_list(given(x, 1, a, "starts")), as_list(given(x, 2, a, "ends"))
    axes = as_list(given(x, 3, a, "axes", range(len(starts))))
    steps = as_list(given(x, 4, a, "steps", [1] * len(starts)))
    result: torch.Tensor = x[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = result.shape[axis]
        rows = range(size)[slice(start, end if step > 0 or end > -(1 << 31) else None, step)]
        if step > 0:
            result = cut(result, axis, rows.start, max(rows.stop, rows.start), step)
        else:
            result = result.index_select(axis, torch.tensor(list(short(rows)), dtype=torch.int64))
    return result


def gather(x: Values, a: Attributes) -> torch.Tensor:
    """Rows along an axis."""
    axis, rows = a.get("axis", 0) % x[0].ndim, x[1].long()
    if not rows.ndim and not isinstance(rows, Value):
        return x[0].select(axis, int(rows))
    rows = torch.where(rows < 0, rows + x[0].shape[axis], rows)
    result = x[0].index_select(axis, rows.flatten())
    return result if rows.ndim == 1 else result.unflatten(axis, tuple(rows.shape))


def split(x: Values, a: Attributes) -> list[torch.Tensor]:
    """In parts along an axis."""
    axis = a.get("axis", 0)
    sizes = given(x, 1, a, "split")
    if sizes is None:
        return list(x[0].chunk(a["_outputs"], axis))
    return list(x[0].split(as_list(sizes), axis))


def pad(x: Values, a: Attributes) -> torch.Tensor:
    """With a border, or without one where it is negative."""
    image = x[0]
    pads = as_list(given(x, 1, a, "pads", a.get("paddings", [])))
    axes = as_list(x[3]) if len(x) > 3 and x[3] is not None else range(image.ndim)
    value = float(given(x, 2, a, "value", 0.0))
    around = {axis % image.ndim: (pads[i], pads[i + len(pads) // 2]) for i, axis in enumerate(axes)}
    pairs = [n for axis in reversed(range(image.ndim)) for n in around.get(axis, (0, 0))]
    bounded([size + max(sum(around.get(axis, (0, 0))), 0) for axis, size in enumerate(image.shape)])
    mode = a.get("mode", b"constant")
    if mode == b"constant":
        return F.pad(image, pairs, "constant", value)
    result = image
    for axis, (near, far) in around.items():
        size = result.shape[axis]
        places = torch.arange(-near, size + far)
        if mode == b"edge":
            places = places.clamp(0, size - 1)
        elif mode == b"wrap":
            places = places % size
        else:  # reflect
            places = places.abs() % max(2 * size - 2, 1)
            places = torch.minimum(places, 2 * size - 2 - places) if size > 1 else places
        result = result.index_select(axis, places.to(result.device))
    return result


def counted(x: Values, a: Attributes) -> torch.Tensor:
    """Numbers from a start to a limit in steps."""
    start, limit, step = (part.item() for part in x)
    bounded([int(abs((limit - start) / step)) + 1])
    return torch.arange(start, limit, step, dtype=x[0].dtype)


def constant(x: Values, a: Attributes) -> torch.Tensor:
    """The attribute that holds a value."""
    for name, value in a.items():
        if name.startswith("value"):
            return torch.as_tensor(value)
    raise RobauditError("holds a constant without value; export it again")


#: Number types by ONNX's numbers; half and double become single.
_KINDS = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float32, 11: torch.float32, 16: torch.float32,
}  # fmt: skip
#: Their names in operator set 1.
_NAMED = {b"FLOAT": 1, b"INT32": 6, b"INT64": 7, b"BOOL": 9, b"FLOAT16": 10, b"DOUBLE": 11}


def cast(x: Values, a: Attributes) -> torch.Tensor:
    """To another number type."""
    to = a["to"]
    target = _KINDS[_NAMED[to] if isinstance(to, bytes) else to]
    result: torch.Tensor = x[0]
    return result if result.dtype == target else result.to(target)


def filled(x: Values, a: Attributes) -> torch.Tensor:
    """A tensor of one value."""
    value = a.get("value", torch.zeros(1))
    return torch.full(bounded(as_list(x[0])), value.item(), dtype=value.dtype)


def expand(x: Values, a: Attributes) -> torch.Tensor:
    """Broadcast to a shape."""
    shape = bounded(np.broadcast_shapes(tuple(as_list(x[1])), tuple(x[0].shape)))
    return x[0] if shape == list(x[0].shape) else x[0].expand(shape)
