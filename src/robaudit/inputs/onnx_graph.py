"""ONNX files as differentiable networks: a small interpreter of the standard operators.

The converters on PyPI are unmaintained or trade unknown operators for custom code; the operators that
classifiers use are few. Only the standard domain is accepted, nothing is loaded from beside the file,
and control flow (which none of these networks has) is refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.onnx_operators import OPERATORS

#: Larger files do not fit protobuf.
LIMIT = 2 << 30


def load_onnx(path: Path) -> OnnxNetwork:
    """The network of an ONNX file.

    Raises:
        RobauditError: the `onnx` package is missing, the file is damaged, or it needs custom operators,
            control flow or external data.

    """
    try:
        import onnx  # noqa: PLC0415  an extra
        from onnx import numpy_helper  # noqa: PLC0415
    except ImportError as error:
        raise RobauditError(
            f"{path}: reading ONNX needs the onnx package; pip install 'robaudit[onnx]'"
        ) from error
    if path.stat().st_size > LIMIT:
        raise RobauditError(f"{path}: larger than an ONNX file can be; pass another one")
    try:
        model = onnx.load(str(path), load_external_data=False)
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
        return OnnxNetwork(
            nodes, tensors, (sizes[0].name, shape), [item.name for item in graph.output], opset
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


def _moving(nodes: list[_Node], source: str) -> set[str]:
    """The names of values that hold one row an image: all that comes from the input but shapes."""
    moving = {source}
    for node in nodes:
        if node.operator not in ("Shape", "Size") and moving & set(node.inputs):
            moving |= set(node.outputs)
    return moving


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


class OnnxNetwork(nn.Module):
    """(N, C, H, W) to (N, classes), whatever batch and layout the graph was exported for."""

    def __init__(
        self,
        nodes: list[_Node],
        tensors: dict[str, torch.Tensor],
        source: tuple[str, list[int]],
        outputs: list[str],
        opset: int,
    ) -> None:
        super().__init__()
        self.nodes, self.names, self.outputs, self.opset = nodes, list(tensors), outputs, opset
        self.source, self.shape = source
        for i, tensor in enumerate(tensors.values()):
            if tensor.is_floating_point() and tensor.numel() > 1:
                self.register_parameter(f"tensor{i}", nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(f"tensor{i}", tensor)
        self.single = False
        self.moving = _moving(nodes, self.source)

    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) as the graph declares it, None where it is flat or not said."""
        sizes = self.shape[-3:]
        if len(self.shape) not in (3, 4) or min(sizes) < 1 or (len(self.shape) == 3 and min(sizes[1:]) < 2):
            return None
        return (sizes[2], sizes[0], sizes[1]) if self._last() else (sizes[0], sizes[1], sizes[2])

    def _last(self) -> bool:
        """Whether channels are last."""
        return len(self.shape) in (3, 4) and self.shape[-1] in (1, 3) and self.shape[-3] not in (1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images, already normalised, to the first output as (N, classes)."""
        if self.single and len(x) != 1:
            return torch.cat([self.forward(row) for row in x.split(1)])
        y = self.run(self._laid_out(x.permute(0, 2, 3, 1) if self._last() else x))
        return y.reshape(1, -1) if self.single else y.flatten(1) if y.ndim > 2 else y

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """The images in the shape that the graph declares, such as (N, 784) or (784, 1)."""
        rest = self.shape[1:]
        if rest and min(rest) > 0 and math.prod(rest) == x[0].numel():
            return x.reshape(-1, *rest)
        if self.shape and min(self.shape) > 0 and math.prod(self.shape) == x.numel():
            return x.reshape(self.shape)
        return x.flatten(1) if len(self.shape) == 2 else x

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Evaluate the nodes in order."""
        values: dict[str, Any] = {name: getattr(self, f"tensor{i}") for i, name in enumerate(self.names)}
        values[self.source], values[""] = x, None
        for node in self.nodes:
            inputs = [values[name] for name in node.inputs]
            attributes = node.attributes | {
                "_opset": self.opset,
                "_outputs": len(node.outputs),
                "_batch": len(x),
                "_moving": bool(node.inputs) and node.inputs[0] in self.moving,
            }
            result = OPERATORS[node.operator](inputs, attributes)
            results = result if isinstance(result, (list, tuple)) else [result]
            values.update(zip(node.outputs, results, strict=False))
        output: torch.Tensor = values[self.outputs[0]]
        return output

    def settle(self, example: torch.Tensor) -> OnnxNetwork:
        """Find out whether the graph takes batches, by two images; else run one image at a time."""
        pair = example[:1].repeat(2, 1, 1, 1)
        pair[1] = pair[1].flip(-1) * 0.5
        try:
            with torch.inference_mode():
                together, alone = self(pair), torch.cat([self(row) for row in pair.split(1)])
            self.single = together.shape != alone.shape or not torch.allclose(
                together, alone, atol=1e-3, rtol=1e-3
            )
        except Exception:
            self.single = True
        return self
