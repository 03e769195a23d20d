"""ONNX files as programs: nodes with their attributes, from a file that is only ever data.

Only the standard domain is accepted, nothing is loaded from beside the file, and control flow (which none of
these networks has) is refused.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.quantised import check_onnx
from robaudit.inputs.programs.network import Program, Shape
from robaudit.inputs.programs.onnx.operators import OPERATORS
from robaudit.inputs.programs.sizes import bounded
from robaudit.inputs.programs.steps import Step, follow, needed

#: Larger files do not fit protobuf.
LIMIT = 2 << 30
#: Names of the domain whose operators are read.
STANDARD = ("", "ai.onnx")
#: The type of tensors that hold texts.
_TEXT = 8


def read_onnx(copy: FileCopy) -> Program:
    """The program of an ONNX file.

    Raises:
        RobauditError: the `onnx` package is missing, the file is damaged, or it needs custom operators,
            control flow or external data.

    """
    path = copy.path
    try:
        import onnx  # noqa: PLC0415  an extra
    except ImportError as error:
        raise RobauditError(
            f"{path}: reading ONNX needs the onnx package; pip install 'robaudit[onnx]'"
        ) from error
    if len(copy) > LIMIT:
        raise RobauditError(f"{path}: larger than an ONNX file can be; pass another one")
    try:
        model = onnx.load_model_from_string(bytes(copy.data))
        if not model.graph.node or not model.graph.output:
            raise ValueError("no graph")
    except Exception as error:
        raise RobauditError(f"{path}: is not an ONNX file, or damaged; download it again") from error
    try:
        return _program(model)
    except RobauditError as error:
        raise RobauditError(f"{path}: {error}") from error
    except Exception as error:
        raise RobauditError(
            f"{path}: a damaged ONNX graph ({type(error).__name__}); download it again"
        ) from error


def _program(model: Any) -> Program:
    graph = model.graph
    if any(function.domain in STANDARD for function in model.functions):
        raise RobauditError("gives the standard operators another meaning; export it without functions")
    tensors = {item.name: _tensor(item) for item in graph.initializer}
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)
    wanted = [item.name for item in graph.output]
    steps = needed([_Node(node, opset).step() for node in graph.node], wanted)
    nodes = [step.run.__self__ for step in steps]  # type: ignore[attr-defined]
    check_onnx(node.node.op_type for node in nodes)
    for node in nodes:
        node.read()
    sizes = [item for item in graph.input if item.name not in tensors]
    shape = [size.dim_value for size in sizes[0].type.tensor_type.shape.dim]

    def run(x: Any) -> Any:
        values = {**tensors, sizes[0].name: _laid_out(x, shape), "": None}
        return dict(zip(wanted, follow(steps, values, wanted), strict=True))

    learned = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    return Program(run, learned, _image_shape(shape), max(shape[0], 0) if len(shape) in (2, 4) else 0)


def _tensor(item: Any) -> torch.Tensor:
    from onnx import numpy_helper  # noqa: PLC0415  an extra

    if item.data_location == 1 or item.external_data:
        raise RobauditError(f"keeps {item.name[:60]!r} in another file; export it as one file")
    if item.data_type == _TEXT or min([*item.dims, 0]) < 0:
        raise RobauditError(f"{item.name[:60]!r} holds no numbers; export it again")
    bounded(item.dims)
    array = numpy_helper.to_array(item)
    if array.dtype.kind == "V":  # numpy has no bfloat16 of its own
        array = array.astype("float32")
    tensor = torch.from_numpy(array.copy())
    return tensor.float() if tensor.dtype in (torch.float16, torch.float64, torch.bfloat16) else tensor


class _Node:
    """An operator with its attributes as Python values."""

    def __init__(self, node: Any, opset: int) -> None:
        self.node = node
        self.attributes: dict[str, Any] = {"_opset": opset, "_outputs": len(node.output)}

    def step(self) -> Step:
        """The node as a step."""
        return Step(tuple(self.node.input), tuple(self.node.output), self.run)

    def read(self) -> None:
        """Look the operator up, and read the attributes.

        Raises:
            RobauditError: the operator is not in the table, or it needs other graphs.

        """
        node = self.node
        name = f"{node.domain}.{node.op_type}".removeprefix(".")[:80]
        if node.domain not in STANDARD:
            raise RobauditError(f"needs the custom operator {name!r}; export it without")
        if node.op_type not in OPERATORS:
            raise RobauditError(f"uses the operator {name!r}, not supported; pass the PyTorch checkpoint")
        for item in node.attribute:
            value = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}.get(item.type)
            if value is None:
                raise RobauditError(f"has an attribute of {name!r} that is not a number; export it without")
            found = getattr(item, value)
            self.attributes[item.name] = (
                _tensor(found) if value == "t" else list(found) if item.type > 5 else found
            )

    def run(self, values: dict[str, Any]) -> list[Any]:
        """What it gives."""
        result = OPERATORS[self.node.op_type]([values[name] for name in self.node.input], self.attributes)
        return list(result) if isinstance(result, (list, tuple)) else [result]


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
