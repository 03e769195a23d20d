"""ONNX's standard operators on tensors: `OPERATORS[name](inputs, attributes)`.

Semantics are those of https://onnx.ai/onnx/operators/, from operator set 1 on; where a parameter moved
from attribute to input, both are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.errors import RobauditError
from robaudit.inputs.programs.aten import OPERATORS as ATEN
from robaudit.inputs.programs.onnx import shapes, windows
from robaudit.inputs.programs.onnx.shapes import Attributes, Values, as_list, given
from robaudit.inputs.programs.sizes import bounded
from robaudit.inputs.programs.static import joined


def _norm(x: Values, a: Attributes) -> torch.Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], False, 0.0, a.get("epsilon", 1e-5))


def _gemm(x: Values, a: Attributes) -> torch.Tensor:
    left = x[0].flatten(1) if x[0].ndim > 2 else x[0]
    left = left.T if a.get("transA", 0) else left
    weight = x[1] if a.get("transB", 0) else x[1].T
    bias = x[2] if len(x) > 2 else None
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    if alpha == beta == 1 and (bias is None or bias.shape == weight.shape[:1]):
        return F.linear(left, weight, bias)
    result: torch.Tensor = alpha * F.linear(left, weight)
    return result if bias is None else result + beta * bias


def _matmul(x: Values, a: Attributes) -> torch.Tensor:
    left, right = x
    layer = isinstance(right, torch.Tensor) and right.ndim == 2 and left.ndim >= 2
    result: torch.Tensor = F.linear(left, right.T) if layer else left @ right
    return result


def _arithmetic(operation: Callable[[Any, Any], Any]) -> Callable[[Values, Attributes], Any]:
    """Before operator set 7, the second operand was aligned at `axis` instead of at the end."""

    def run(x: Values, a: Attributes) -> Any:
        first, second = x
        if a.get("broadcast") and "axis" in a and second.ndim < first.ndim:
            axis = a["axis"] % first.ndim
            second = second.reshape(second.shape + (1,) * (first.ndim - axis - second.ndim))
        return operation(first, second)

    return run


def _divide(a: Any, b: Any) -> Any:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _softmax(x: Values, a: Attributes, log: bool) -> torch.Tensor:
    """Before operator set 13, over all axes from `axis` on together."""
    of = F.log_softmax if log else F.softmax
    if a["_opset"] >= 13:
        return of(x[0], a.get("axis", -1))
    axis = a.get("axis", 1) % x[0].ndim
    return of(x[0].flatten(axis), axis).reshape(x[0].shape)


def _clip(x: Values, a: Attributes) -> torch.Tensor:
    low, high = (_number(given(x, i, a, name)) for i, name in ((1, "min"), (2, "max")))
    if low is None and high is None:
        return x[0]
    if (low, high) == (0, 6):
        return F.relu6(x[0])
    result: torch.Tensor = x[0].clamp(low, high)
    return result


def _number(value: Any) -> Any:
    """A limit as a number where it is known."""
    return value.item() if isinstance(value, torch.Tensor) else value


def _reduce(operation: Callable[..., torch.Tensor]) -> Callable[[Values, Attributes], torch.Tensor]:
    def run(x: Values, a: Attributes) -> torch.Tensor:
        axes = given(x, 1, a, "axes")
        axes = None if axes is not None and not as_list(axes) else axes
        if axes is None and a.get("noop_with_empty_axes", 0):
            return x[0]
        dims = tuple(range(x[0].ndim)) if axes is None else tuple(as_list(axes))
        return operation(x[0], dim=dims, keepdim=bool(a.get("keepdims", 1)))

    return run


def _selu(x: Values, a: Attributes) -> torch.Tensor:
    alpha, gamma = a.get("alpha", 1.6732632423543772), a.get("gamma", 1.0507009873554805)
    result: torch.Tensor = gamma * F.elu(x[0], alpha)
    return result


def _group_norm(x: Values, a: Attributes) -> torch.Tensor:
    """Before operator set 21, scale and bias are one a group."""
    groups = a["num_groups"]
    size = x[0].shape[1] // x[1].numel()
    scale, bias = (tensor.repeat_interleave(size) for tensor in x[1:3])
    return F.group_norm(x[0], groups, scale, bias, a.get("epsilon", 1e-5))


def _layer_norm(x: Values, a: Attributes) -> torch.Tensor:
    axis = a.get("axis", -1) % x[0].ndim
    return F.layer_norm(x[0], x[0].shape[axis:], x[1], x[2] if len(x) > 2 else None, a.get("epsilon", 1e-5))


def _global(x: Values, largest: bool) -> torch.Tensor:
    dims = tuple(range(2, x[0].ndim))
    result: torch.Tensor = x[0].amax(dims, keepdim=True) if largest else x[0].mean(dims, keepdim=True)
    return result


def _scattered(x: Values, a: Attributes) -> torch.Tensor:
    """ScatterND: with other numbers at some places."""
    if a.get("reduction", b"none") != b"none":
        raise RobauditError("adds at places of a tensor, not supported; export it without")
    return torch.index_put(x[0], tuple(x[1].unbind(-1)), x[2])


def _summed_up(x: Values, a: Attributes) -> torch.Tensor:
    axis = int(x[1])
    values = x[0].flip(axis) if a.get("reverse") else x[0]
    sums = torch.cumsum(values, axis) - (values if a.get("exclusive") else 0)
    return sums.flip(axis) if a.get("reverse") else sums


def _lrn(x: Values, a: Attributes) -> torch.Tensor:
    bounded([*x[0].shape, a["size"]])
    return F.local_response_norm(
        x[0], a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    )


#: Operators that are PyTorch's under another name, without attributes.
_SAME = {
    "Abs": "abs", "And": "__and__", "Ceil": "ceil", "Cos": "cos", "Equal": "eq", "Erf": "erf", "Exp": "exp",
    "Floor": "floor", "Greater": "gt", "GreaterOrEqual": "ge", "HardSwish": "hardswish", "Less": "lt",
    "LessOrEqual": "le", "Log": "log", "Mish": "mish", "Neg": "neg", "Not": "bitwise_not", "Or": "__or__",
    "Reciprocal": "reciprocal", "Relu": "relu", "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin",
    "Softplus": "softplus", "Softsign": "softsign", "Sqrt": "sqrt", "Tanh": "tanh", "Where": "where",
}  # fmt: skip
#: And those with one attribute: its name here and its value where it is not given.
_OF_ONE_ATTRIBUTE: dict[str, tuple[str, str, Any]] = {
    "Celu": ("celu", "alpha", 1.0), "Elu": ("elu", "alpha", 1.0), "LeakyRelu": ("leaky_relu", "alpha", 0.01),
}  # fmt: skip


def _renamed(name: str, attribute: str = "", default: Any = None) -> Callable[[Values, Attributes], Any]:
    function = ATEN[name]
    return lambda x, a: function(*x, *([a.get(attribute, default)] if attribute else []))


OPERATORS: dict[str, Callable[[Values, Attributes], Any]] = {
    **{name: _renamed(other) for name, other in _SAME.items()},
    **{name: _renamed(*other) for name, other in _OF_ONE_ATTRIBUTE.items()},
    "Add": _arithmetic(ATEN["add"]), "Div": _arithmetic(_divide), "Mul": _arithmetic(ATEN["mul"]),
    "Pow": _arithmetic(ATEN["pow"]), "Sub": _arithmetic(ATEN["sub"]),
    "ArgMax": lambda x, a: x[0].argmax(a.get("axis", 0), bool(a.get("keepdims", 1))),
    "AveragePool": windows.average_pool, "BatchNormalization": _norm, "Cast": shapes.cast,
    "CastLike": lambda x, a: x[0].to(x[1].dtype), "Clip": _clip, "Concat": lambda x, a: joined(x, a.get("axis", 1)),
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.filled, "Conv": windows.convolution, "ConvTranspose": windows.transposed_convolution,
    "DepthToSpace": windows.depth_to_space, "Dropout": lambda x, a: x[0],
    "Einsum": lambda x, a: torch.einsum(a["equation"].decode(), *x), "Expand": shapes.expand,
    "Flatten": lambda x, a: x[0].reshape(math.prod(x[0].shape[: a.get("axis", 1)]), -1),

    "Gather": shapes.gather, "Gelu": lambda x, a: F.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm, "GlobalAveragePool": lambda x, a: _global(x, largest=False),
    "GlobalMaxPool": lambda x, a: _global(x, largest=True), "GroupNormalization": _group_norm,
    "HardSigmoid": lambda x, a: (a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5)).clamp(0, 1),
    "Identity": lambda x, a: x[0],
    "InstanceNormalization": lambda x, a: F.instance_norm(
        x[0], None, None, x[1], x[2], eps=a.get("epsilon", 1e-5)
    ),
    "LRN": _lrn, "LayerNormalization": _layer_norm, "LogSoftmax": lambda x, a: _softmax(x, a, log=True),
    "MatMul": _matmul, "Max": lambda x, a: reduce(torch.maximum, x), "MaxPool": windows.max_pool,
    "Mean": lambda x, a: sum(x) / len(x), "Min": lambda x, a: reduce(torch.minimum, x),
    "Mod": lambda x, a: x[0].fmod(x[1]) if a.get("fmod", 0) else x[0].remainder(x[1]),
    "PRelu": lambda x, a: torch.where(x[0] >= 0, x[0], x[0] * x[1]), "Pad": shapes.pad, "Range": shapes.counted,
    "CumSum": _summed_up, "ScatterND": _scattered,
    "ReduceL1": _reduce(lambda x, dim, keepdim: x.abs().sum(dim, keepdim)),
    "ReduceL2": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim).sqrt()),
    "ReduceLogSumExp": _reduce(torch.logsumexp), "ReduceMax": _reduce(torch.amax), "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin), "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim)), "Reshape": shapes.reshape,
    "Resize": windows.resize, "Selu": _selu,
    "Shape": lambda x, a: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")]),
    "Size": lambda x, a: torch.tensor(x[0].numel()), "Slice": shapes.sliced,
    "Softmax": lambda x, a: _softmax(x, a, log=False), "SpaceToDepth": windows.space_to_depth, "Split": shapes.split,
    "Squeeze": shapes.squeeze, "Sum": lambda x, a: sum(x),
    "Swish": lambda x, a: x[0] * (a.get("alpha", 1.0) * x[0]).sigmoid(),
    "ThresholdedRelu": lambda x, a: torch.where(x[0] > a.get("alpha", 1.0), x[0], 0.0),
    "Tile": lambda x, a: ATEN["repeat"](x[0], as_list(x[1])),
    "Transpose": lambda x, a: x[0].permute(a.get("perm", list(range(x[0].ndim))[::-1])),
    "Unsqueeze": shapes.unsqueeze, "Upsample": windows.resize,
}  # fmt: skip
