"""ONNX's standard operators on tensors: `OPERATORS[name](inputs, attributes)`.

Semantics are those of https://onnx.ai/onnx/operators/, from operator set 1 on; where a parameter moved
from attribute to input, both are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from robaudit.errors import RobauditError

Values = list[Any]
Attributes = dict[str, Any]
#: A shape computed by a graph may not ask for more numbers.
LIMIT = 1 << 28


def _bounded(shape: list[int]) -> list[int]:
    if math.prod(max(size, 1) for size in shape) > LIMIT:
        raise RobauditError("asks for an absurdly large tensor; export it again")
    return shape


def _list(value: Any) -> list[int]:
    return [int(n) for n in (value.flatten().tolist() if isinstance(value, torch.Tensor) else value)]


def _given(x: Values, i: int, a: Attributes, name: str, default: Any = None) -> Any:
    """A parameter that newer operator sets pass as input `i` and older ones as attribute."""
    return x[i] if len(x) > i and x[i] is not None else a.get(name, default)


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
    return _bounded([n for pair in reversed(pairs) for n in pair])


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


def _reshape(x: Values, a: Attributes) -> torch.Tensor:
    shape = _list(_given(x, 1, a, "shape"))
    image = x[0]
    shape = [image.shape[i] if size == 0 and not a.get("allowzero") else size for i, size in enumerate(shape)]
    if a["_batch"] > 1 and len(shape) > 1 and shape[0] == 1 and image.shape[0] == a["_batch"]:
        shape[0] = a["_batch"]  # exported for one image
    elif -1 not in shape and math.prod(shape) != image.numel() and image.shape[0] == a["_batch"]:
        shape[0] = a["_batch"]
    return image.reshape(shape)


def _flatten(x: Values, a: Attributes) -> torch.Tensor:
    axis = a.get("axis", 1) % (x[0].ndim + 1)
    return x[0].reshape(math.prod(x[0].shape[:axis]), -1)


def _softmax(x: Values, a: Attributes, log: bool) -> torch.Tensor:
    axis = a.get("axis", -1 if a["_opset"] >= 13 else 1)
    return F.log_softmax(x[0], axis) if log else F.softmax(x[0], axis)


def _clip(x: Values, a: Attributes) -> torch.Tensor:
    low, high = _given(x, 1, a, "min"), _given(x, 2, a, "max")
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
        axes = _given(x, 1, a, "axes")
        dims = tuple(range(x[0].ndim)) if axes is None else tuple(_list(axes))
        return operation(x[0], dim=dims, keepdim=bool(a.get("keepdims", 1)))

    return run


def _squeeze(x: Values, a: Attributes) -> torch.Tensor:
    axes = _given(x, 1, a, "axes")
    result: torch.Tensor = x[0]
    if axes is None:
        return result.squeeze()
    for axis in sorted((n % result.ndim for n in _list(axes)), reverse=True):
        result = result.squeeze(axis)
    return result


def _unsqueeze(x: Values, a: Attributes) -> torch.Tensor:
    axes = _list(_given(x, 1, a, "axes"))
    result = torch.as_tensor(x[0])
    for axis in sorted(n % (result.ndim + len(axes)) for n in axes):
        result = result.unsqueeze(axis)
    return result


def _slice(x: Values, a: Attributes) -> torch.Tensor:
    starts, ends = _list(_given(x, 1, a, "starts")), _list(_given(x, 2, a, "ends"))
    axes = _list(_given(x, 3, a, "axes", range(len(starts))))
    steps = _list(_given(x, 4, a, "steps", [1] * len(starts)))
    result: torch.Tensor = x[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        rows = (
            torch.arange(result.shape[axis], device=result.device)[slice(start, end, step)]
            if step > 0
            else None
        )
        if rows is None:
            rows = torch.tensor(
                list(range(result.shape[axis]))[slice(start, end if end > -(1 << 31) else None, step)]
            )
        result = result.index_select(axis, rows.to(result.device))
    return result


def _gather(x: Values, a: Attributes) -> torch.Tensor:
    axis, rows = a.get("axis", 0), x[1].long()
    rows = torch.where(rows < 0, rows + x[0].shape[axis], rows)
    result = x[0].index_select(axis, rows.flatten())
    shape = list(x[0].shape)
    shape[axis : axis + 1 if axis != -1 else None] = list(rows.shape)
    return result.reshape(shape)


def _split(x: Values, a: Attributes) -> list[torch.Tensor]:
    axis = a.get("axis", 0)
    sizes = _given(x, 1, a, "split")
    if sizes is None:
        return list(x[0].chunk(a["_outputs"], axis))
    return list(x[0].split(_list(sizes), axis))


def _pad(x: Values, a: Attributes) -> torch.Tensor:
    pads = _list(_given(x, 1, a, "pads", a.get("paddings", [])))
    value = _given(x, 2, a, "value", 0.0)
    count = len(pads) // 2
    pairs = _bounded([n for i in reversed(range(count)) for n in (pads[i], pads[i + count])])
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}[a.get("mode", b"constant")]
    if mode != "constant":
        return F.pad(x[0], pairs[:4], mode)
    return F.pad(x[0], pairs, "constant", float(value))


def _constant(x: Values, a: Attributes) -> torch.Tensor:
    for name, value in a.items():
        if name.startswith("value"):
            return torch.as_tensor(value)
    raise RobauditError("holds a constant without value; export it again")


def _cast(x: Values, a: Attributes) -> torch.Tensor:
    kinds = {
        1: torch.float32,
        6: torch.int32,
        7: torch.int64,
        9: torch.bool,
        10: torch.float32,
        11: torch.float32,
    }
    result: torch.Tensor = x[0].to(kinds[a["to"]])
    return result


def _filled(x: Values, a: Attributes) -> torch.Tensor:
    value = a.get("value", torch.zeros(1))
    return torch.full(_bounded(_list(x[0])), value.item(), dtype=value.dtype)


def _expand(x: Values, a: Attributes) -> torch.Tensor:
    shape = _bounded(_list(x[1]))
    return x[0].broadcast_to(torch.broadcast_shapes(tuple(shape), tuple(x[0].shape)))


def _concat(x: Values, a: Attributes) -> torch.Tensor:
    return torch.cat([torch.as_tensor(part) for part in x], a.get("axis", 1))


def _layer_norm(x: Values, a: Attributes) -> torch.Tensor:
    axis = a.get("axis", -1) % x[0].ndim
    return F.layer_norm(x[0], x[0].shape[axis:], x[1], x[2] if len(x) > 2 else None, a.get("epsilon", 1e-5))


def _transpose(x: Values, a: Attributes) -> torch.Tensor:
    result: torch.Tensor = x[0].permute(a.get("perm", list(range(x[0].ndim))[::-1]))
    return result


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
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Conv": _conv,
    "Div": _arithmetic(_divide),
    "Dropout": lambda x, a: x[0],
    "Elu": lambda x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "Equal": lambda x, a: x[0] == x[1],
    "Erf": lambda x, a: x[0].erf(),
    "Exp": lambda x, a: x[0].exp(),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
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
    "Pad": _pad,
    "Pow": _arithmetic(lambda p, q: p**q),
    "Reciprocal": lambda x, a: 1 / x[0],
    "ReduceL2": _reduce(lambda x, dim, keepdim: x.pow(2).sum(dim, keepdim).sqrt()),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, a: F.relu(x[0]),
    "Reshape": _reshape,
    "Selu": lambda x, a: F.selu(x[0]),
    "Shape": lambda x, a: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Sign": lambda x, a: x[0].sign(),
    "Slice": _slice,
    "Softmax": lambda x, a: _softmax(x, a, log=False),
    "Softplus": lambda x, a: F.softplus(x[0]),
    "Split": _split,
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Squeeze": _squeeze,
    "Sub": _arithmetic(lambda p, q: p - q),
    "Sum": lambda x, a: sum(x),
    "Tanh": lambda x, a: x[0].tanh(),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
}
