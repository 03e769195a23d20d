"""Operators that make fewer numbers of many, or weigh them against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.inputs.programs.aten import shapes
from robaudit.inputs.programs.aten.shapes import as_dtype, is_tensor

Operator = Callable[..., Any]


def _reduction(function: Operator) -> Operator:
    """One with (dim, keepdim, dtype) or, without dimensions, with (dtype)."""

    def run(self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None, **_: Any) -> Any:
        if isinstance(self, list):
            return sum(self)
        self = shapes.convert(self, dtype=dtype)
        axes = list(range(self.ndim)) if dim is None or dim == [] else dim
        return function(self, dim=axes, keepdim=keepdim)

    return run


def _extreme(of_axis: Operator, of_two: Operator) -> Operator:
    """`max` and `min`: of everything, along a dimension, of two tensors, or of numbers."""

    def run(self: Any, *args: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if args and is_tensor(args[0]):
            return of_two(self, args[0])
        if not is_tensor(self):
            return (max if of_axis is torch.max else min)(self, *args)
        rest = [*args, *([] if dim is None else [dim, keepdim])]
        return tuple(of_axis(self, *rest)) if rest else of_axis(self)

    return run


def _softmax(function: Operator) -> Operator:
    def run(self: Any, dim: int, third: Any = None, dtype: Any = None, **_: Any) -> Any:
        kind = dtype if type(third) in (bool, type(None)) else third  # `_softmax` has half_to_float there
        return function(shapes.convert(self, dtype=as_dtype(kind)), dim=dim)

    return run


def _norm(self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    axes = list(range(self.ndim)) if dim is None or dim == [] else dim
    return torch.linalg.vector_norm(self, 2 if p is None else p, axes, keepdim, dtype=as_dtype(dtype))


def _variance(function: Operator) -> Operator:
    def run(
        self: Any, *args: Any, dim: Any = None, correction: Any = None, keepdim: bool = False, **named: Any
    ) -> Any:
        rest = list(args)
        unbiased = named.get("unbiased", True)
        if rest and type(rest[0]) is bool:
            unbiased = rest.pop(0)
        elif rest:
            dim = rest.pop(0)
            unbiased = rest.pop(0) if rest else unbiased
            keepdim = rest.pop(0) if rest else keepdim
        freedom = (
            correction
            if correction is not None
            else unbiased
            if type(unbiased) is not bool
            else int(unbiased)
        )
        axes = list(range(self.ndim)) if dim is None else dim
        return function(self, dim=axes, correction=int(freedom), keepdim=keepdim)

    return run


OPERATORS: dict[str, Operator] = {
    "mean": _reduction(torch.mean), "sum": _reduction(torch.sum), "max": _extreme(torch.max, torch.maximum),
    "min": _extreme(torch.min, torch.minimum), "softmax": _softmax(F.softmax), "_softmax": _softmax(F.softmax),
    "log_softmax": _softmax(F.log_softmax), "_log_softmax": _softmax(F.log_softmax), "norm": _norm,
    "linalg_vector_norm": lambda self, ord=2, *rest, **named: _norm(self, ord, *rest, **named),
    "var": _variance(torch.var), "std": _variance(torch.std), "var_mean": _variance(torch.var_mean),
}  # fmt: skip
