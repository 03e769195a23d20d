"""ONNX's standard operators on tensors: `OPERATORS[name](inputs, attributes)`.

Semantics are those of https://onnx.ai/onnx/operators/, from operator set 1 on; where a parameter moved
from attribute to input, both are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.inputs import onnx_shapes as shapes
from robaudit.inputs.onnx_shapes import Attributes, Values, as_list, bounded, given


def _same(size: int, kernel: int, stride: int, dilation: int, upper: bool) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def _pads(x: torch.Tensor, a: Attributes, kernel: list[int]) -> list[int]:
    """(left, right, top, bottom, ...) for `F.pad`, last dimension first."""
    count = len(kernel)
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    auto = a.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        pairs = [
            _same(x.shape[2 + i], kernel[i], strides[i], dilations[i], auto == b"SAME_UPPER")
            for i in range(count)
        ]
    else:
        pads = a.get("pads", [0] * 2 * count) if auto != b"VALID" else [0] * 2 * count
        pairs = [(pads[i], pads[i + count]) for i in range(count)]
    return bounded([n for pair in reversed(pairs) for n in pair])


def _conv(x: Values, a: Attributes) -> torch.Tensor:
    weight, bias = x[1], x[2] if len(x) > 2 else None
    image = F.pad(x[0], _pads(x[0], a, list(weight.shape[2:])))
    count = weight.ndim - 2
    convolve = {1: F.conv1d, 2: F.conv2d}[count]
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    return convolve(image, weight, bias, strides, 0, dilations, a.get("group", 1))


def _pool(x: Values, a: Attributes, largest: bool) -> torch.Tensor:
    kernel = a["kernel_shape"]
    strides = a.get("strides", [1] * len(kernel))
    pads = _pads(x[0], a, kernel)
    ceil = bool(a.get("ceil_mode", 0))
    if largest:
        image = F.pad(x[0], pads, value=-torch.inf)
        return F.max_pool2d(image, kernel, strides, 0, a.get("dilations", 1), ceil)
    total = F.avg_pool2d(F.pad(x[0], pads), kernel, strides, 0, ceil)
    if not any(pads) or a.get("count_include_pad", 0):
        return total
    ones = F.avg_pool2d(F.pad(torch.ones_like(x[0][:1, :1]), pads), kernel, strides, 0, ceil)
    return total / ones


def _norm(x: Values, a: Attributes) -> torch.Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], False, 0.0, a.get("epsilon", 1e-5))


def _gemm(x: Values, a: Attributes) -> torch.Tensor:
    left = x[0].flatten(1) if x[0].ndim > 2 else x[0]
    left = left.T if a.get("transA", 0) else left
    right = x[1].T if a.get("transB", 0) else x[1]
    result: torch.Tensor = a.get("alpha", 1.0) * (left @ right)
    return result + a.get("beta", 1.0) * x[2] if len(x) > 2 and x[2] is not None else result


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
    whole = isinstance(a, torch.Tensor) and not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _softmax(x: Values, a: Attributes, log: bool) -> torch.Tensor:
    axis = a.get("axis", -1 if a["_opset"] >= 13 else 1)
    return F.log_softmax(x[0], axis) if log else F.softmax(x[0], axis)


def _clip(x: Values, a: Attributes) -> torch.Tensor:
    low, high = given(x, 1, a, "min"), given(x, 2, a, "max")
    result: torch.Tensor = x[0]
    result = (
        result
        if low is None
        else torch.maximum(result, torch.as_tensor(low, dtype=result.dtype, device=result.device))
    )
    return (
        result
        if high is None
        else torch.minimum(result, torch.as_tensor(high, dtype=result.dtype, device=result.device))
    )


def _reduce(operation: Callable[..., torch.Tensor]) -> Callable[[Values, Attributes], torch.Tensor]:
    def run(x: Values, a: Attributes) -> torch.Tensor:
        axes = given(x, 1, a, "axes")
        dims = tuple(range(x[0].ndim)) if axes is None else tuple(as_list(axes))
        return operation(x[0], dim=dims, keepdim=bool(a.get("keepdims", 1)))

    return run


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
    "AveragePool": lambda x, a: _pool(x, a, largest=False),
    "BatchNormalization": _norm,
    "Cast": shapes.cast,
    "Clip": _clip,
    "Concat": shapes.concat,
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.filled,
    "Conv": _conv,
    "Div": _arithmetic(_divide),
    "Dropout": lambda x, a: x[0],
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "Equal": lambda x, a: x[0] == x[1],
    "Erf": lambda x, a: x[0].erf(),
    "Exp": lambda x, a: x[0].exp(),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Gather": shapes.gather,
    "Gelu": lambda x, a: F.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, a: _global(x, largest=False),
    "GlobalMaxPool": lambda x, a: _global(x, largest=True),
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
    "Log": lambda x, a: x[0].log(),
    "LogSoftmax": lambda x, a: _softmax(x, a, log=True),
    "MatMul": lambda x, a: x[0] @ x[1],
    "Max": lambda x, a: x[0] if len(x) == 1 else torch.maximum(x[0], x[1]),
    "MaxPool": lambda x, a: _pool(x, a, largest=True),
    "Min": lambda x, a: x[0] if len(x) == 1 else torch.minimum(x[0], x[1]),
    "Mul": _arithmetic(lambda p, q: p * q),
    "Neg": lambda x, a: -x[0],
    "PRelu": lambda x, a: torch.where(x[0] >= 0, x[0], x[0] * x[1]),
    "Pad": shapes.pad,
    "Pow": _arithmetic(lambda p, q: p**q),
    "Reciprocal": lambda x, a: 1 / x[0],
    "ReduceL2": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim).sqrt()),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, a: F.relu(x[0]),
    "Reshape": shapes.reshape,
    "Selu": lambda x, a: F.selu(x[0]),
    "Shape": lambda x, a: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Sign": lambda x, a: x[0].sign(),
    "Slice": shapes.sliced,
    "Softmax": lambda x, a: _softmax(x, a, log=False),
    "Softplus": lambda x, a: F.softplus(x[0]),
    "Split": shapes.split,
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Squeeze": shapes.squeeze,
    "Sub": _arithmetic(lambda p, q: p - q),
    "Sum": lambda x, a: sum(x),
    "Tanh": lambda x, a: x[0].tanh(),
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
}
