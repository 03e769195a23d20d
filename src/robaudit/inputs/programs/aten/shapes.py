"""Operators that move, cut, make and convert tensors, with the parameters of PyTorch's schemas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.programs.recording import Value
from robaudit.inputs.programs.sizes import bounded, short
from robaudit.inputs.programs.static import fitted, joined

#: Number types by the numbers that TorchScript has for them.
DTYPES = {
    0: torch.uint8, 1: torch.int8, 2: torch.int16, 3: torch.int32, 4: torch.int64, 5: torch.float16,
    6: torch.float32, 7: torch.float64, 11: torch.bool, 15: torch.bfloat16,
}  # fmt: skip
_END = 2**63 - 1


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, known or dependent on the images."""
    return isinstance(value, (Tensor, Value))


def as_dtype(value: Any) -> torch.dtype | None:
    """A number type from itself or from its number; None for None."""
    if value is None or isinstance(value, torch.dtype):
        return value
    if type(value) is not int or value not in DTYPES:
        raise RobauditError(
            f"has numbers of a kind {value!r:.20}, not supported; pass the PyTorch checkpoint"
        )
    return DTYPES[value]


def convert(self: Any, *args: Any, dtype: Any = None, other: Any = None, **_: Any) -> Any:
    """`to` and its relatives: only the number type counts."""
    for arg in args:
        if is_tensor(arg):
            other = arg
        elif isinstance(arg, torch.dtype) or type(arg) is int:
            dtype = dtype if dtype is not None else arg
    wanted = other.dtype if other is not None else as_dtype(dtype)
    return self if wanted is None or self.dtype == wanted else self.to(wanted)


def view(self: Any, size: Any) -> Any:
    """The same numbers in another shape."""
    if isinstance(size, (torch.dtype, int)):
        raise RobauditError("reads numbers as those of another kind; export it without")
    return self.reshape(fitted(self, bounded(size)))


def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Several dimensions as one."""
    return torch.flatten(self, start_dim, end_dim) if self.ndim else self.reshape(1)


def expand(self: Any, size: Sequence[int], implicit: bool = False) -> Any:
    """Broadcast to a shape."""
    sizes = [int(n) for n in size]
    missing = len(sizes) - self.ndim
    bounded([own if n == -1 else n for n, own in zip(sizes, [1] * missing + list(self.shape), strict=True)])
    if (
        isinstance(self, Value)
        and self.shape[0] == self.batch
        and sizes[0] == self.written_for
        and not missing
    ):
        sizes[0] = -1
    return self.expand(sizes)


def repeat(self: Any, repeats: Sequence[int]) -> Any:
    """Several times along each dimension."""
    bounded(
        [n * size for n, size in zip(repeats[::-1], [*self.shape[::-1], *[1] * len(repeats)], strict=False)]
    )
    return self.repeat(list(repeats))


def repeat_rows(self: Any, repeats: Any, dim: int | None = None, output_size: Any = None) -> Any:
    """`repeat_interleave`: each row several times, all as often or each as a list of numbers says."""
    if dim is None:
        self, dim = self.flatten(), 0
    times = repeats if isinstance(repeats, Tensor) else torch.tensor(int(item(repeats)))
    size = self.shape[dim]
    short(range(int(times.sum() if times.ndim else times * size)))
    rows = torch.repeat_interleave(torch.arange(size), times.expand(size))
    return self.index_select(dim, rows)


def cut(self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """`slice`: part of a list or of a dimension."""
    if isinstance(self, (list, str)):
        return self[dim:start:end] if end is not None else self[dim:start]  # (list, start, end, step)
    start, end = 0 if start is None else start, _END if end is None else end
    size = self.shape[dim]
    if step == 1 and start == 0 and end >= size:
        return self
    return self[(slice(None),) * (dim % self.ndim) + (slice(start, min(end, size), step),)]


def put_slice(self: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """`slice_scatter`: with other numbers in part of a dimension."""
    rows = range(self.shape[dim])[slice(start, end, step)]
    if step != 1:
        raise RobauditError("writes every n-th row of a tensor, not supported; export it without")
    before, after = self.narrow(dim, 0, rows.start), self.narrow(dim, rows.stop, self.shape[dim] - rows.stop)
    return torch.cat([before, src, after], dim) if len(rows) else self


def put_row(self: Any, src: Any, dim: int, index: int) -> Any:
    """`select_scatter`: with other numbers in one row of a dimension."""
    row = range(self.shape[dim])[index]
    return put_slice(self, src.unsqueeze(dim), dim, row, row + 1)


def index(self: Any, indices: Sequence[Any]) -> Any:
    """Rows by tensors of whole numbers, one or none for a dimension."""
    return self[tuple(slice(None) if rows is None else rows for rows in indices)]


def split(self: Any, split_size: Any, dim: int = 0) -> list[Any]:
    """In parts of a size, or of several sizes."""
    return list(self.split(split_size if isinstance(split_size, int) else list(split_size), dim))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """With a border, or without one where it is negative."""
    around = [pad[2 * i] + pad[2 * i + 1] for i in range(len(pad) // 2)][::-1]
    kept = input.ndim - len(around)
    bounded([*input.shape[:kept], *(n + m for n, m in zip(input.shape[kept:], around, strict=True))])
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise RobauditError(f"pads in the mode {mode!r:.20}, not supported; pass the PyTorch checkpoint")
    return F.pad(input, list(pad), mode, value) if any(pad) else input


def full(size: Sequence[int], fill_value: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    """A tensor of one number."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return torch.full(bounded(size), value, dtype=as_dtype(dtype) or None)


def filled(value: float) -> Callable[..., Tensor]:
    """`zeros` and `ones`."""

    def make(size: Sequence[int], dtype: Any = None, *_: Any, **__: Any) -> Tensor:
        return torch.full(bounded(size), value, dtype=as_dtype(dtype) or torch.float32)

    return make


def filled_like(value: float | None) -> Callable[..., Tensor]:
    """`zeros_like`, `ones_like` and `full_like`."""

    def make(self: Any, *args: Any, dtype: Any = None, fill_value: Any = None, **_: Any) -> Tensor:
        if value is None and args:
            fill_value, *args = args  # type: ignore[assignment]
        number = item(fill_value) if value is None else value
        kind = as_dtype(args[0] if args else dtype) or self.dtype
        return torch.full(bounded(self.shape), number, dtype=kind)

    return make


def new_filled(value: float | None) -> Callable[..., Tensor]:
    """`new_zeros`, `new_ones` and `new_full`."""

    def make(self: Any, size: Sequence[int], *args: Any, dtype: Any = None, **named: Any) -> Tensor:
        rest = list(args)
        number = value if value is not None else rest.pop(0) if rest else named["fill_value"]
        return torch.full(bounded(size), number, dtype=as_dtype(rest[0] if rest else dtype) or self.dtype)

    return make


def counted(*args: Any, dtype: Any = None, **named: Any) -> Tensor:
    """`arange`, with an end, with a start, or with a step too; the number type may come after them."""
    numbers = [named[name] for name in ("start", "end", "step") if name in named] or list(args)
    if len(args) in (5, 6, 7):  # with dtype, layout, device and pin_memory
        numbers, dtype = list(args[:-4]), args[-4]
    start, end, step = {1: (0, *numbers, 1), 2: (*numbers, 1), 3: tuple(numbers)}[len(numbers)]
    bounded([math.ceil(abs((end - start) / step))])
    return torch.arange(start, end, step, dtype=as_dtype(dtype))


def as_tensor(data: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    """A number, or lists of numbers, as a tensor."""
    sizes, inner = [], data
    while isinstance(inner, (list, tuple)) and inner:
        sizes.append(len(inner))
        inner = inner[0]
    short(range(math.prod(sizes)))
    return torch.tensor(data, dtype=as_dtype(dtype))


def item(self: Any) -> Any:
    """The number of a tensor that holds one."""
    if isinstance(self, Value):
        raise RobauditError("decides by the numbers of an image what to compute; export it without")
    return self.item() if isinstance(self, Tensor) else self


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """As rows of a new dimension."""
    return torch.stack(list(tensors), dim)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """One after the other."""
    return joined(tensors, dim)
