"""What a program may ask for while it is read: the sizes of results, known before anything is allocated.

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
from torch.overrides import TorchFunctionMode

from robaudit.errors import RobauditError

#: Numbers in one tensor that a program computes.
LARGEST = 1 << 28


def bounded(shape: Iterable[int]) -> list[int]:
    """The shape itself, if it is not absurdly large.

    Raises:
        RobauditError: it has more than `LARGEST` numbers.

    """
    sizes = [int(size) for size in shape]
    if math.prod(max(size, 1) for size in sizes) > LARGEST:
        raise RobauditError("asks for an absurdly large tensor; export it again")
    return sizes


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> list[int]:
    count = weight.ndim - 2
    steps, spaces, kernel = _each(stride, count), _each(dilation, count), weight.shape[2:]
    if x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(f"a convolution of {tuple(weight.shape)} does not fit {tuple(x.shape)}")
    reach = [(size - 1) * space for size, space in zip(kernel, spaces, strict=True)]
    around = (
        reach
        if padding == "same"
        else [0] * count
        if padding == "valid"
        else [2 * p for p in _each(padding, count)]
    )
    sides = zip(x.shape[2:], around, reach, steps, strict=True)
    sizes = [(size + more - far - 1) // step + 1 for size, more, far, step in sides]
    if min(sizes) < 1:
        raise RuntimeError(f"a kernel of {tuple(kernel)} is larger than the padded input")
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
    if min(first.ndim, second.ndim) < 2:
        return (
            list(first.shape[:-1])
            + list(second.shape[:-2])
            + list(second.shape[-1:] if second.ndim > 1 else [])
        )
    if first.shape[-1] != second.shape[-2]:
        raise RuntimeError(f"matrices of {tuple(first.shape)} and {tuple(second.shape)} do not fit")
    return [
        *np.broadcast_shapes(tuple(first.shape[:-2]), tuple(second.shape[:-2])),
        first.shape[-2],
        second.shape[-1],
    ]


#: Shapes of the results of what would be costly to compute for its shape alone.
RULES: dict[Any, Callable[..., list[int]]] = (
    dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolved)
    | dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _transposed)
    | {F.linear: _linear}
    | dict.fromkeys(
        (operator.matmul, torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.__matmul__), _product
    )
)


def check_size(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int] | None:
    """Refuse a call whose result is absurdly large; the result's shape where a rule tells it.

    Raises:
        RobauditError: it is.
        RuntimeError: the shapes do not fit each other.

    """
    if function in RULES:
        return bounded(RULES[function](*args, **kwargs))
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
    """The sizes of an einsum's result; of all its letters where these are not said."""
    inputs, _, result = equation.replace(" ", "").partition("->")
    sizes = {
        letter: size
        for letters, part in zip(inputs.split(","), parts, strict=True)
        for letter, size in zip(letters.replace(".", ""), part.shape[-len(letters) :], strict=False)
    }
    return [sizes[letter] for letter in (result or sizes) if letter in sizes]


class BoundedSizes(TorchFunctionMode):
    """Inside, the sizes of the results of torch's functions are checked before they are called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` if its result is small enough."""
        kwargs = kwargs or {}
        if all(issubclass(kind, Tensor) for kind in types):
            check_size(func, args, kwargs)
        return func(*args, **kwargs)
