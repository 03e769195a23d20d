"""The sizes of what a program asks for and the work it takes, known before anything is allocated.

Torch's own rules for shapes (its `meta` device) take seconds to import.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.errors import RobauditError

#: Numbers in one tensor.
LARGEST = 1 << 27
#: Items of a list that is computed.
LONGEST = 1_000_000


def bounded(shape: Iterable[int]) -> list[int]:
    """The shape itself, if it is not too large.

    Raises:
        RobauditError: it has more than `LARGEST` numbers.

    """
    sizes = [int(size) for size in shape]
    if math.prod(max(size, 1) for size in sizes) > LARGEST:
        raise RobauditError(
            f"asks for a tensor that is too large (limit {LARGEST:,} numbers); export it again"
        )
    return sizes


def short(items: Any) -> Any:
    """A list, text or tensor itself, if it is not too long.

    Raises:
        RobauditError: it has more than `LONGEST` items.

    """
    if (items.numel() if isinstance(items, Tensor) else len(items)) > LONGEST:
        raise RobauditError(f"makes a list that is too long (limit {LONGEST:,}); export it again")
    return items


def _convolved(
    x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> list[int]:  # fmt: skip
    count = weight.ndim - 2
    steps, spaces, kernel = _each(stride, count), _each(dilation, count), weight.shape[2:]
    if x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(f"a convolution of {tuple(weight.shape)} does not fit {tuple(x.shape)}")
    if min([*steps, *spaces]) < 1:
        raise RuntimeError("a convolution has steps that are not positive")
    reach = [(size - 1) * space for size, space in zip(kernel, spaces, strict=True)]
    named = {"same": reach, "valid": [0] * count}
    around = named[padding] if isinstance(padding, str) else [2 * p for p in _each(padding, count)]
    sides = zip(x.shape[2:], around, reach, steps, strict=True)
    sizes = [(size + more - far - 1) // step + 1 for size, more, far, step in sides]
    if min(sizes) < 1:
        raise RuntimeError(f"a kernel of {tuple(kernel)} is larger than the padded input")
    bounded([*x.shape[:2], *(size + more for size, more in zip(x.shape[2:], around, strict=True))])
    return [x.shape[0], weight.shape[0], *sizes]


def _transposed(  # noqa: PLR0913, PLR0917
    x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> list[int]:  # fmt: skip
    count = weight.ndim - 2
    parts = [_each(value, count) for value in (stride, padding, output_padding, dilation)]
    sizes = [
        (size - 1) * step - 2 * pad + space * (kernel - 1) + more + 1
        for size, kernel, step, pad, more, space in zip(x.shape[2:], weight.shape[2:], *parts, strict=True)
    ]
    if x.ndim != weight.ndim or x.shape[1] != weight.shape[0] or min(sizes) < 1:
        raise RuntimeError(f"a transposed convolution of {tuple(weight.shape)} does not fit {tuple(x.shape)}")
    return [x.shape[0], weight.shape[1] * groups, *sizes]


def _each(value: Any, count: int) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(number) for number in (values * count if len(values) == 1 else values)]


def _linear(x: Tensor, weight: Tensor, bias: Any = None) -> list[int]:
    if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise RuntimeError(f"a linear layer of {tuple(weight.shape)} does not fit {tuple(x.shape)}")
    return [*x.shape[:-1], weight.shape[0]]


def _product(first: Tensor, second: Tensor) -> list[int]:
    rows, columns = list(first.shape[-2:-1]), list(second.shape[-1:] if second.ndim > 1 else [])
    if first.shape[-1] != second.shape[max(second.ndim - 2, 0)]:
        raise RuntimeError(f"matrices of {tuple(first.shape)} and {tuple(second.shape)} do not fit")
    return [*np.broadcast_shapes(tuple(first.shape[:-2]), tuple(second.shape[:-2])), *rows, *columns]


def _added_product(start: Tensor, first: Tensor, second: Tensor, **_: Any) -> list[int]:
    return _product(first, second)


def _attended(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> list[int]:
    bounded([*query.shape[:-1], key.shape[-2]])  # each with each
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"attention of {tuple(query.shape)} to {tuple(key.shape)} does not fit")
    return [*query.shape[:-1], value.shape[-1]]


def _rows(x: Tensor, dim: int, index: Tensor) -> list[int]:
    return [index.numel() if axis == dim % x.ndim else size for axis, size in enumerate(x.shape)]


_PRODUCTS = (operator.matmul, torch.matmul, torch.mm, torch.bmm, torch.mv, Tensor.matmul, Tensor.__matmul__)
#: Shapes of the results of what would be costly to compute for its shape alone.
RULES: dict[Any, Callable[..., list[int]]] = (
    dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolved)
    | dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _transposed)
    | dict.fromkeys(_PRODUCTS, _product)
    | {F.linear: _linear, torch.baddbmm: _added_product, F.scaled_dot_product_attention: _attended}
)
_SELECTIONS = (torch.index_select, Tensor.index_select)


def check_size(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int] | None:
    """Refuse a call whose result is too large; the result's shape where a rule tells it.

    Raises:
        RobauditError: it is, or it divides whole numbers in a way that ends the process.
        RuntimeError: the shapes do not fit each other.

    """
    if function in RULES:
        return bounded(RULES[function](*args, **kwargs))
    if function in _SELECTIONS:
        bounded(_rows(*args, **kwargs))
        return None
    _check_division(function, args, kwargs)
    if function is operator.getitem and not isinstance(args[0], Tensor):
        return None
    if function is torch.einsum:
        operands = args[1] if isinstance(args[1], (list, tuple)) else args[1:]
        bounded(_einsum_sizes(args[0], list(operands)))
        return None
    direct = [arg for arg in args if isinstance(arg, Tensor)]
    for several in (arg for arg in args if isinstance(arg, (list, tuple))):
        parts = [part for part in several if isinstance(part, Tensor)]
        if function in (operator.getitem, Tensor.__getitem__) and parts:  # at most each row with each
            bounded([args[0].numel(), math.prod(parts[0].shape) // max(min(args[0].shape), 1)])
        else:
            bounded([sum(part.numel() for part in parts)])
    try:
        shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in direct))
    except ValueError:  # no function of numbers at the same places; its result is no larger than its input
        return None
    bounded(shape)
    return None


def _einsum_sizes(equation: str, parts: list[Tensor]) -> list[int]:
    """The sizes of an einsum's result; of all its letters where these are not said or partial results may have any."""
    inputs, _, result = equation.replace(" ", "").partition("->")
    sizes = {
        letter: size
        for letters, part in zip(inputs.split(","), parts, strict=True)
        for letter, size in zip(letters.replace(".", ""), part.shape[-len(letters) :], strict=False)
    }
    return [sizes[letter] for letter in (result if result and len(parts) < 3 else sizes) if letter in sizes]


def _check_division(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Whole numbers by 0, or the least one by -1, is a signal of the processor's, not an error."""
    name = getattr(function, "__name__", "").strip("_")
    if name not in {"div", "floordiv", "rfloordiv", "floor_divide", "mod", "rmod", "remainder", "fmod"}:
        return
    if (name == "div" and not kwargs.get("rounding_mode")) or len(args) < 2:
        return
    if any(
        arg.is_floating_point() if isinstance(arg, Tensor) else isinstance(arg, float) for arg in args[:2]
    ):
        return
    divisor = torch.as_tensor(args[0] if name in {"rfloordiv", "rmod"} else args[1])
    # A tensor without numbers of its own stands for any numbers.
    if bool(((divisor == 0) | (divisor == -1)).any()):
        raise RobauditError("divides whole numbers by 0, by -1 or by numbers of an image; export it without")


def work_of(function: Any, args: tuple[Any, ...], shape: Iterable[int]) -> int:
    """Multiply-adds of a call whose result has this shape."""
    each = 1
    if function in RULES:
        if RULES[function] in (_convolved, _linear):
            each = args[1][:1].numel()
        elif RULES[function] is _transposed:
            each = args[1][:, :1].numel()
        else:
            each = args[-1 if function is torch.baddbmm else 0].shape[-1]
            each *= 2 if RULES[function] is _attended else 1
    return math.prod(shape) * max(each, 1)
