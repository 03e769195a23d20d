"""ONNX's standard operators on tensors: `OPERATORS[name](inputs, attributes)`.

Semantics are those of https://onnx.ai/onnx/operators/, from operator set 1 on; where a parameter moved
from attribute to input, both are read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.inputs.programs.limits import bounded
from robaudit.inputs.programs.onnx import shapes, windows
from robaudit.inputs.programs.onnx.shapes import Attributes, Values, as_list, given


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


OPERATORS: dict[str, Callable[[Values, Attributes], Any]] = {
    "Abs": lambda x, a: x[0].abs(),
    "Add": _arithmetic(lambda p, q: p + q),
    "ArgMax": lambda x, a: x[0].argmax(a.get("axis", 0), bool(a.get("keepdims", 1))),
    "And": lambda x, a: x[0] & x[1],
    "AveragePool": windows.average_pool,
    "BatchNormalization": _norm,
    "Cast": shapes.cast,
    "Ceil": lambda x, a: x[0].ceil(),
    "Celu": lambda x, a: F.celu(x[0], a.get("alpha", 1.0)),
    "Clip": _clip,
    "Concat": shapes.concat,
    "CastLike": lambda x, a: x[0].to(x[1].dtype),
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.filled,
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "Cos": lambda x, a: x[0].cos(),
    "DepthToSpace": windows.depth_to_space,
    "Div": _arithmetic(_divide),
    "Dropout": lambda x, a: x[0],
    "Einsum": lambda x, a: torch.einsum(a["equation"].decode(), *x),
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "Equal": lambda x, a: x[0] == x[1],
    "Erf": lambda x, a: x[0].erf(),
    "Exp": lambda x, a: x[0].exp(),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Floor": lambda x, a: x[0].floor(),
    "Gather": shapes.gather,
    "Gelu": lambda x, a: F.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, a: _global(x, largest=False),
    "GlobalMaxPool": lambda x, a: _global(x, largest=True),
    "Greater": lambda x, a: x[0] > x[1],
    "GreaterOrEqual": lambda x, a: x[0] >= x[1],
    "GroupNormalization": _group_norm,
    "HardSigmoid": lambda x, a: (a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda x, a: F.hardswish(x[0]),
    "Identity": lambda x, a: x[0],
    "InstanceNormalization": lambda x, a: F.instance_norm(
        x[0], None, None, x[1], x[2], eps=a.get("epsilon", 1e-5)
    ),
    "LRN": lambda x, a: F.local_response_norm(
        x[0], a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    ),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda x, a: F.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Less": lambda x, a: x[0] < x[1],
    "LessOrEqual": lambda x, a: x[0] <= x[1],
    "Log": lambda x, a: x[0].log(),
    "LogSoftmax": lambda x, a: _softmax(x, a, log=True),
    "MatMul": _matmul,
    "Max": lambda x, a: reduce(torch.maximum, x),
    "MaxPool": windows.max_pool,
    "Mean": lambda x, a: sum(x) / len(x),
    "Min": lambda x, a: reduce(torch.minimum, x),
    "Mish": lambda x, a: F.mish(x[0]),
    "Mod": lambda x, a: x[0].fmod(x[1]) if a.get("fmod", 0) else x[0].remainder(x[1]),
    "Mul": _arithmetic(lambda p, q: p * q),
    "Neg": lambda x, a: -x[0],
    "Not": lambda x, a: ~x[0],
    "Or": lambda x, a: x[0] | x[1],
    "PRelu": lambda x, a: torch.where(x[0] >= 0, x[0], x[0] * x[1]),
    "Pad": shapes.pad,
    "Pow": _arithmetic(lambda p, q: p**q),
    "Reciprocal": lambda x, a: 1 / x[0],
    "Range": shapes.counted,
    "ReduceL1": _reduce(lambda x, dim, keepdim: x.abs().sum(dim, keepdim)),
    "ReduceL2": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim).sqrt()),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim)),
    "Relu": lambda x, a: F.relu(x[0]),
    "Reshape": shapes.reshape,
    "Selu": _selu,
    "Resize": windows.resize,
    "Round": lambda x, a: x[0].round(),
    "Shape": lambda x, a: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Sign": lambda x, a: x[0].sign(),
    "Sin": lambda x, a: x[0].sin(),
    "Size": lambda x, a: torch.tensor(x[0].numel()),
    "Slice": shapes.sliced,
    "Softmax": lambda x, a: _softmax(x, a, log=False),
    "Softplus": lambda x, a: F.softplus(x[0]),
    "Softsign": lambda x, a: F.softsign(x[0]),
    "SpaceToDepth": windows.space_to_depth,
    "Split": shapes.split,
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Squeeze": shapes.squeeze,
    "Sub": _arithmetic(lambda p, q: p - q),
    "Sum": lambda x, a: sum(x),
    "Swish": lambda x, a: x[0] * (a.get("alpha", 1.0) * x[0]).sigmoid(),
    "Tanh": lambda x, a: x[0].tanh(),
    "ThresholdedRelu": lambda x, a: torch.where(x[0] > a.get("alpha", 1.0), x[0], 0.0),
    "Tile": lambda x, a: x[0].tile(bounded(as_list(x[1]))),
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Upsample": windows.resize,
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
}
