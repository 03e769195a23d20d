"""ONNX files as programs: nodes with their attributes, from a file that is only ever data.

Only the standard domain is accepted, nothing is loaded from beside the file, and control flow (which none of
these networks has) is refused.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.programs.network import Program, Shape
from robaudit.inputs.programs.onnx.operators import OPERATORS

#: Larger files do not fit protobuf.
LIMIT = 2 << 30


def read_onnx(copy: FileCopy) -> Program:
    """The program of an ONNX file.

    Raises:
        RobauditError: the `onnx` package is missing, the file is damaged, or it needs custom operators,
            control flow or external data.

    """
    path = copy.path
    try:
        import onnx  # noqa: PLC0415  an extra
        from onnx import numpy_helper  # noqa: PLC0415
    except ImportError as error:
        raise RobauditError(
            f"{path}: reading ONNX needs the onnx package; pip install 'robaudit[onnx]'"
        ) from error
    if len(copy) > LIMIT:
        raise RobauditError(f"{path}: larger than an ONNX file can be; pass another one")
    try:
        model = onnx.load_model_from_string(bytes(copy.data))
        graph = model.graph
        if not graph.node or not graph.output:
            raise ValueError("no graph")
    except Exception as error:
        raise RobauditError(f"{path}: is no ONNX file, or damaged; download it again") from error
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise RobauditError(
                f"{path}: needs the custom operator {node.domain}.{node.op_type}; export it without"
            )
        if node.op_type not in OPERATORS:
            raise RobauditError(
                f"{path}: uses the operator {node.op_type}, not supported; pass the PyTorch checkpoint"
            )
    try:
        tensors = {item.name: _tensor(item, numpy_helper) for item in graph.initializer}
        nodes = [_Node(node, numpy_helper) for node in graph.node]
        sizes = [item for item in graph.input if item.name not in tensors]
        shape = [size.dim_value for size in sizes[0].type.tensor_type.shape.dim]
        opset = max(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1
        )
        run = partial(
            _run,
            nodes=nodes,
            tensors=tensors,
            source=sizes[0].name,
            shape=shape,
            output=graph.output[0].name,
            opset=opset,
        )
        return Program(
            run,
            [t for t in tensors.values() if t.is_floating_point()],
            _image_shape(shape),
            max(shape[0], 0) if len(shape) in (2, 4) else 0,
        )
    except RobauditError as error:
        raise RobauditError(f"{path}: {error}") from error
    except Exception as error:
        raise RobauditError(
            f"{path}: a damaged ONNX graph ({type(error).__name__}); download it again"
        ) from error


def _tensor(item: Any, helper: Any) -> torch.Tensor:
    if item.data_location == 1 or item.external_data:
        raise RobauditError(f"keeps '{item.name}' in another file; export it as one file")
    array = helper.to_array(item)
    if array.dtype.hasobject:
        raise RobauditError(f"'{item.name}' holds no numbers; export it again")
    tensor = torch.from_numpy(array.copy())
    return tensor.float() if tensor.dtype in (torch.float16, torch.float64, torch.bfloat16) else tensor


class _Node:
    """An operator with its attributes as Python values."""

    def __init__(self, node: Any, helper: Any) -> None:
        self.operator: str = node.op_type
        self.inputs: list[str] = list(node.input)
        self.outputs: list[str] = list(node.output)
        self.attributes: dict[str, Any] = {}
        for item in node.attribute:
            if item.type == 4:
                self.attributes[item.name] = _tensor(item.t, helper)
            elif item.type in (5, 10, 11):
                raise RobauditError(f"uses control flow in {node.op_type}; export it without")
            else:
                value = {
                    1: item.f,
                    2: item.i,
                    3: item.s,
                    6: list(item.floats),
                    7: list(item.ints),
                    8: list(item.strings),
                }
                self.attributes[item.name] = value[item.type]


def _run(
    x: Any,
    *,
    nodes: list[_Node],
    tensors: dict[str, torch.Tensor],
    source: str,
    shape: list[int],
    output: str,
    opset: int,
) -> Any:
    """Evaluate the nodes in order; the first output as (N, classes)."""
    values: dict[str, Any] = {**tensors, source: _laid_out(x, shape), "": None}
    for node in nodes:
        inputs = [values[name] for name in node.inputs]
        result = OPERATORS[node.operator](
            inputs, node.attributes | {"_opset": opset, "_outputs": len(node.outputs)}
        )
        results = result if isinstance(result, (list, tuple)) else [result]
        values.update(zip(node.outputs, results, strict=False))
    y = values[output]
    if len(x) == 1:
        return y.reshape(1, -1) if y.ndim != 2 else y
    return y.flatten(1) if y.ndim > 2 else y


def _channels_last(shape: list[int]) -> bool:
    return len(shape) in (3, 4) and shape[-1] in (1, 3) and shape[-3] not in (1, 3)


def _image_shape(shape: list[int]) -> Shape | None:
    """(C, H, W) as the graph declares it, None where it is flat or not said."""
    sizes = shape[-3:]
    if len(shape) not in (3, 4) or min(sizes) < 1 or (len(shape) == 3 and min(sizes[1:]) < 2):
        return None
    return (sizes[2], sizes[0], sizes[1]) if _channels_last(shape) else (sizes[0], sizes[1], sizes[2])


def _laid_out(x: Any, shape: list[int]) -> Any:
    """The images (N, C, H, W) in the shape that the graph declares, such as (N, 784) or (784, 1)."""
    x = x.permute(0, 2, 3, 1) if _channels_last(shape) else x
    rest = shape[1:]
    if rest and min(rest) > 0 and math.prod(rest) == x[:1].numel():
        return x if list(x.shape[1:]) == rest else x.reshape(-1, *rest)
    if shape and min(shape) > 0 and math.prod(shape) == x.numel():
        return x.reshape(shape)
    return x.flatten(1) if len(shape) == 2 else x
