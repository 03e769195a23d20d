"""PyTorch's operators by name: `OPERATORS[name](*arguments)`, on tensors and on `recording.Value`s.

The parameters have the names and order of the operators' schemas. Nothing here draws random numbers, changes a tensor
or reaches outside of what it is given. An operator that overwrites its first argument is read as the one that does not,
and using that argument afterwards is an error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.programs.aten import layers, reductions, shapes
from robaudit.inputs.programs.aten.shapes import is_tensor
from robaudit.inputs.programs.recording import Value
from robaudit.inputs.programs.sizes import LONGEST

Operator = Callable[..., Any]


def _sized(value: Any) -> Any:
    """A plain number or list, if it is not too large; tensors as they are."""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise RobauditError("computes with a number that is too large (limit 2^63); export it again")
    if isinstance(value, (list, tuple, str)) and len(value) > LONGEST:
        raise RobauditError(f"makes a list that is too long (limit {LONGEST:,}); export it again")
    return value


def _add(self: Any, other: Any, alpha: Any = 1) -> Any:
    return _sized(self + other if alpha == 1 else self + other * alpha)


def _sub(self: Any, other: Any, alpha: Any = 1) -> Any:
    return _sized(self - other if alpha == 1 else self - other * alpha)


def _mul(self: Any, other: Any) -> Any:
    for items, times in ((self, other), (other, self)):
        if isinstance(items, (list, tuple, str)) and len(items) * max(times, 1) > LONGEST:
            raise RobauditError(f"makes a list that is too long (limit {LONGEST:,}); export it again")
    return _sized(self * other)


def _div(self: Any, other: Any, rounding_mode: str | None = None) -> Any:
    return self / other if rounding_mode is None else torch.div(self, other, rounding_mode=rounding_mode)


def _pow(self: Any, exponent: Any) -> Any:
    if is_tensor(self) or is_tensor(exponent):
        return self**exponent
    return (
        math.pow(self, exponent)
        if isinstance(self, float) or exponent < 0 or exponent > 63
        else _sized(self**exponent)
    )


def _compared(function: Operator) -> Operator:
    def run(self: Any, other: Any) -> Any:
        inside = (
            (*self, *other) if isinstance(self, (list, tuple)) and isinstance(other, (list, tuple)) else ()
        )
        if any(isinstance(part, (list, tuple, dict)) for part in inside):  # may take time without end
            raise RobauditError("compares lists of lists; export it without")
        return function(self, other)

    return run


def _clamp(self: Any, min: Any = None, max: Any = None) -> Any:
    if (min, max) == (0, 6):
        return F.relu6(self)
    return self if min is None and max is None else self.clamp(min, max)


def _hardtanh(self: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return F.relu6(self) if (min_val, max_val) == (0, 6) else F.hardtanh(self, min_val, max_val)


def _idle(self: Any, *_: Any, **__: Any) -> Any:
    return self


def _length(self: Any) -> int:
    return len(self)


def _einsum(equation: str, tensors: Sequence[Any], path: Any = None) -> Any:
    return torch.einsum(equation, *tensors)


def _inplace(function: Operator) -> Operator:
    """As `function`; its first argument may not be used afterwards, or is changed where it depends on no image."""

    def run(self: Any, *args: Any, **named: Any) -> Any:
        result = function(self, *args, **named)
        if isinstance(self, Tensor) and isinstance(result, Tensor):
            return self.copy_(result)
        if not isinstance(self, Value):
            raise RobauditError("writes an image's numbers into a tensor of its own; export it without")
        if not isinstance(result, Value) or result.shape != self.shape or result.dtype != self.dtype:
            raise RobauditError("changes a tensor in place into another kind; export it without")
        if result is not self:
            self.overwrite()
        return result

    return run


def _of_one(function: Operator) -> Operator:
    """A function of one tensor, without its other settings, such as `inplace`."""

    def run(self: Any) -> Any:
        return function(self)

    return run


def _numbers(of_number: Operator, of_tensor: Operator) -> Operator:
    """A function of a plain number, or a list, or of a tensor."""
    return lambda self, *rest: of_tensor(self, *rest) if is_tensor(self) else of_number(self, *rest)


#: Functions of torch that take the operator's own arguments.
_SAME = {
    name: getattr(torch, name)
    for name in (
        "abs", "amax", "amin", "argmax", "argmin", "baddbmm", "bmm", "cos", "erf",
        "exp", "expm1", "flip", "fmod", "index_select", "isfinite", "isinf", "isnan", "log", "log1p", "log2",
        "logical_and", "logical_not", "logical_or", "logsumexp", "masked_fill", "matmul", "maximum", "minimum",
        "mm", "movedim", "mv", "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "reciprocal", "roll",
        "rsqrt", "select", "sigmoid", "sign", "sin", "square", "squeeze", "swapaxes", "tanh", "transpose", "unsqueeze",
        "where",
    )
}  # fmt: skip

#: Functions of one tensor.
_OF_ONE: dict[str, Operator] = {
    name: _of_one(function)
    for name, function in {
        "relu": F.relu, "relu6": F.relu6, "selu": F.selu, "silu": F.silu, "mish": F.mish, "hardswish": F.hardswish,
        "hardsigmoid": F.hardsigmoid, "softsign": F.softsign, "log_sigmoid": F.logsigmoid,
    }.items()
}  # fmt: skip

OPERATORS: dict[str, Operator] = _SAME | _OF_ONE | layers.OPERATORS | reductions.OPERATORS | {
    # arithmetic, of tensors and of plain numbers
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "true_divide": _div, "pow": _pow,
    "subtract": _sub, "multiply": _mul, "divide": _div,
    "rsub": lambda self, other, alpha=1: other - (self if alpha == 1 else self * alpha),
    "floordiv": operator.floordiv, "floor_divide": operator.floordiv, "remainder": operator.mod, "mod": operator.mod,
    "neg": operator.neg, **{name: _compared(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "bitwise_and": operator.and_, "bitwise_or": operator.or_,
    "bitwise_not": operator.invert, "__and__": operator.and_, "__or__": operator.or_,
    "sqrt": _numbers(math.sqrt, torch.sqrt), "floor": _numbers(math.floor, torch.floor),
    "ceil": _numbers(math.ceil, torch.ceil), "round": _numbers(round, torch.round),
    "clamp": _clamp, "clip": _clamp, "clamp_min": lambda self, min: self.clamp(min=min),
    "clamp_max": lambda self, max: self.clamp(max=max),
    "addmm": lambda self, mat1, mat2, beta=1, alpha=1: layers.affine(self, mat1, mat2, beta, alpha),
    "einsum": _einsum, "addcmul": lambda self, tensor1, tensor2, value=1: _add(self, tensor1 * tensor2, value),
    "addcdiv": lambda self, tensor1, tensor2, value=1: _add(self, tensor1 / tensor2, value),
    "cumsum": lambda self, dim, dtype=None: torch.cumsum(shapes.convert(self, dtype=dtype), dim),
    # activations
    "hardtanh": _hardtanh,
    "leaky_relu": lambda self, negative_slope=0.01: F.leaky_relu(self, negative_slope),
    "elu": lambda self, alpha=1.0, scale=1, input_scale=1: F.selu(self) if scale != 1 else F.elu(self, alpha),
    "celu": lambda self, alpha=1.0: F.celu(self, alpha),
    "gelu": lambda self, approximate="none": F.gelu(self, approximate=approximate),
    "softplus": lambda self, beta=1, threshold=20: F.softplus(self, beta, threshold),
    "prelu": torch.prelu, "_prelu_kernel": torch.prelu, "glu": F.glu,
    "threshold": F.threshold,
    # what does nothing to a classifier that is evaluated
    "contiguous": _idle, "clone": lambda self, *_, **__: self.clone() if isinstance(self, Tensor) else self,
    "detach": _idle, "alias": _idle, "lift_fresh": _idle, "lift_fresh_copy": _idle, "positive": _idle, "data": _idle,
    "_assert_tensor_metadata": lambda *_, **__: None, "_assert_scalar": lambda *_, **__: None,
    "sym_constrain_range_for_size": lambda *_, **__: None,     # shapes
    "size": lambda self, dim=None: list(self.shape) if dim is None else self.shape[dim],
    "sym_size": lambda self, dim: self.shape[dim], "dim": lambda self: self.ndim,
    "numel": lambda self: self.shape.numel(),
    "sym_numel": lambda self: self.shape.numel(), "len": _length, "view": shapes.view, "reshape": shapes.view,
    "_unsafe_view": shapes.view, "flatten": shapes.flatten, "expand": shapes.expand, "repeat": shapes.repeat,
    "view_as": lambda self, other: shapes.view(self, other.shape), "t": lambda self: self.T,
    "reshape_as": lambda self, other: shapes.view(self, other.shape), "numpy_T": lambda self: self.T,
    "expand_as": lambda self, other: shapes.expand(self, other.shape), "unflatten": lambda self, dim, sizes: (
        shapes.view(self, [*self.shape[: dim % self.ndim], *sizes, *self.shape[dim % self.ndim + 1 :]])),
    "slice": shapes.cut, "index": shapes.index, "split": shapes.split, "split_with_sizes": shapes.split,
    "chunk": lambda self, chunks, dim=0: list(self.chunk(chunks, dim)), "cat": shapes.cat, "concat": shapes.cat,
    "unbind": lambda self, dim=0: list(self.unbind(dim)), "stack": shapes.stack, "pad": shapes.pad,
    "constant_pad_nd": lambda self, pad, value=0: shapes.pad(self, pad, "constant", value),
    "reflection_pad2d": lambda self, padding: shapes.pad(self, padding, "reflect"),
    "replication_pad2d": lambda self, padding: shapes.pad(self, padding, "replicate"),
    # conversions and constants
    "to": shapes.convert, "_to_copy": shapes.convert, "type_as": lambda self, other: shapes.convert(self, other=other),
    "zeros": shapes.filled(0), "ones": shapes.filled(1), "full": shapes.full, "zeros_like": shapes.filled_like(0),
    "fill": shapes.filled_like(None), "zero": shapes.filled_like(0), "ones_like": shapes.filled_like(1),
    "copy": lambda self, src=None, *_: (
        list(self) if src is None else shapes.expand(shapes.convert(src, other=self), self.shape)),
    "all": _numbers(all, torch.all), "any": _numbers(any, torch.any),
    "repeat_interleave": shapes.repeat_rows, "slice_scatter": shapes.put_slice, "select_scatter": shapes.put_row,
    "full_like": shapes.filled_like(None), "new_zeros": shapes.new_filled(0),
    "new_ones": shapes.new_filled(1), "new_full": shapes.new_filled(None), "arange": shapes.counted,
    "tensor": shapes.as_tensor, "scalar_tensor": shapes.as_tensor, "item": shapes.item,
    "_local_scalar_dense": shapes.item,
}  # fmt: skip

OPERATORS |= {
    f"{name}_": _inplace(OPERATORS[name])
    for name in (
        "add", "sub", "mul", "div", "relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "silu", "mish",
        "hardswish", "hardsigmoid", "sigmoid", "tanh", "clamp", "clamp_min", "clamp_max", "dropout", "exp", "neg",
        "feature_dropout", "alpha_dropout", "threshold", "masked_fill", "pow", "fill", "copy", "zero",
    )
}  # fmt: skip
