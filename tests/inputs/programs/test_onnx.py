"""The ONNX interpreter against onnx's own reference evaluator and its published cases of single operators."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier
from robaudit.inputs.files.copies import read_copy
from robaudit.inputs.programs.network import build_network
from robaudit.inputs.programs.onnx import read_onnx
from robaudit.inputs.programs.onnx.operators import OPERATORS
from robaudit.inputs.programs.onnx.reading import _Node

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def node(name: str, count: int, **attributes: Any) -> Any:
    return helper.make_node(name, [f"i{i}" for i in range(count)], ["o"], **attributes)


def reference(proto: Any, inputs: list[np.ndarray], opset: int) -> np.ndarray:
    """What onnx's evaluator gives for one operator."""
    from onnx.reference import ReferenceEvaluator

    shapes = [
        helper.make_tensor_value_info(f"i{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, a in enumerate(inputs)
    ]
    graph = helper.make_graph([proto], "one", shapes, [helper.make_empty_tensor_value_info("o")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, {f"i{i}": a for i, a in enumerate(inputs)})[0]


IMAGE = floats(2, 3, 7, 7)
SINGLE: list[tuple[str, list[np.ndarray], dict[str, Any], int]] = [
    ("Flatten", [floats(2, 3, 4)], {"axis": -1}, 13),
    ("Flatten", [floats(2, 3, 4)], {"axis": 2}, 13),
    ("Max", [floats(3), floats(3), floats(3)], {}, 13),
    ("Min", [floats(2, 3), floats(3), floats(1)], {}, 13),
    ("Softmax", [floats(2, 3, 2, 2)], {"axis": 1}, 13),
    ("Selu", [floats(4)], {"alpha": 2.0, "gamma": 3.0}, 13),
    ("ReduceSum", [floats(2, 3), whole()], {"noop_with_empty_axes": 1}, 13),
    ("ReduceMean", [floats(2, 3, 4)], {"axes": [-1], "keepdims": 0}, 11),
    ("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 12),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, 12),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "dilations": [2, 1]}, 12),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0]}, 11),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 11),
    ("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "strides": [3, 3], "auto_pad": "SAME_LOWER"}, 11),
    ("Conv", [IMAGE, floats(4, 3, 3, 3)], {"pads": [0, 1, 2, 1], "strides": [2, 1]}, 11),
    ("Conv", [IMAGE, floats(6, 1, 3, 3), floats(6)], {"group": 3, "dilations": [2, 2]}, 11),
    ("Gemm", [floats(3, 2), floats(4, 3), floats(4)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 11),
    ("Pad", [floats(2, 3, 4), whole(1, 2), np.float32(7), whole(1)], {}, 18),
    ("Pad", [floats(2, 3, 4), whole(0, 1, 0, 0, 0, 2)], {"mode": "reflect"}, 13),
    ("Pad", [floats(2, 3, 4), whole(0, 1, 0, 0, 0, 2)], {"mode": "edge"}, 13),
    ("Clip", [floats(9), np.float32(-0.2), np.float32(0.3)], {}, 13),
    ("Unsqueeze", [floats(3), whole(0, -1)], {}, 13),
    ("Slice", [floats(5, 6), whole(-1, 0), whole(-9, 5), whole(0, 1), whole(-2, 2)], {}, 13),
    ("Gather", [floats(3, 4), whole(-1, 0)], {"axis": 1}, 13),
    ("Mean", [floats(3), floats(3)], {}, 13),
    ("Mod", [floats(5), floats(5)], {"fmod": 1}, 13),
    ("Celu", [floats(5)], {"alpha": 0.5}, 12),
    ("DepthToSpace", [floats(1, 8, 2, 3)], {"blocksize": 2}, 13),
    ("SpaceToDepth", [floats(1, 2, 4, 6)], {"blocksize": 2}, 13),
    ("Resize", [floats(1, 2, 3, 3), floats(0), np.array([1, 1, 2, 2], np.float32)],
     {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, 13),
    ("ThresholdedRelu", [floats(6)], {"alpha": 0.3}, 10),
]  # fmt: skip


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case[0])
def test_an_operator_gives_what_the_reference_gives(
    case: tuple[str, list[np.ndarray], dict[str, Any], int],
) -> None:
    name, inputs, attributes, opset = case
    proto = node(name, len(inputs), **attributes)
    mine = _Node(proto, opset)
    mine.read()
    values = {at: torch.from_numpy(np.array(array)) for at, array in zip(proto.input, inputs, strict=True)}
    (result,) = mine.run(values)
    expected = reference(proto, inputs, opset)
    assert tuple(result.shape) == expected.shape
    assert np.allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [None, 1, 2, -1])
def test_softmax_before_operator_set_13_spans_all_axes_from_its_own(name: str, axis: int | None) -> None:
    x = floats(2, 3, 4)
    attributes = {"_opset": 11} | ({} if axis is None else {"axis": axis})
    result = OPERATORS[name]([torch.from_numpy(x)], attributes).numpy()
    spread = np.exp(x.astype(np.float64))
    axes = tuple(range(1 if axis is None else axis % 3, 3))
    expected = spread / spread.sum(axes, keepdims=True)
    assert np.allclose(result, expected if name == "Softmax" else np.log(expected), atol=1e-5)


def published_cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    return list(load_model_tests(kind="node"))


#: Not for classifiers: other number types, training, ties, transposed convolutions by output shape.
LEFT_OUT = ("uint", "bfloat16", "training_mode", "select_last_index", "empty_set", "int8", "output_shape")
LEFT_OUT += (
    "training_dropout",
    "convtranspose_3d",
    "convtranspose_kernel_shape",
    "convtranspose_autopad",
    "resize",
    "upsample",
)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
def test_onnx_s_own_cases() -> None:
    wrong, refused, count = [], [], 0
    for case in published_cases():
        model = case.model
        if model is None or len(model.graph.node) != 1 or any(word in case.name for word in LEFT_OUT):
            continue
        proto = model.graph.node[0]
        if proto.domain not in ("", "ai.onnx") or proto.op_type not in OPERATORS:
            continue
        inputs, outputs = case.data_sets[0]
        kinds = {getattr(array, "dtype", np.dtype(object)) for array in [*inputs, *outputs]}
        if not kinds <= {np.dtype(kind) for kind in ("float32", "int64", "int32", "bool")}:
            continue
        names = [item.name for item in model.graph.input]
        values = {name: torch.from_numpy(np.array(a)) for name, a in zip(names, inputs, strict=True)}
        mine = _Node(proto, model.opset_import[0].version)
        try:
            mine.read()
            parts = mine.run({"": None} | values)
        except RobauditError:
            refused.append(case.name)
            continue
        count += 1
        for part, expected in zip(parts, outputs, strict=False):
            same = tuple(part.shape) == expected.shape
            if not same or not np.allclose(part.numpy(), expected, rtol=1e-3, atol=1e-5, equal_nan=True):
                wrong.append(case.name)
    assert not wrong and count > 250
    # Adding up at places of a tensor is refused, in words.
    assert all(re.match("test_scatternd_(add|multiply|max|min)", name) for name in refused)


def save(
    path: Path, nodes: list[Any], shape: list[Any], tensors: dict[str, np.ndarray], opset: int = 13
) -> None:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))


def test_a_constant_that_looks_like_a_batch_keeps_its_shape(tmp_path: Path) -> None:
    """Means of 3 channels reshaped to (1, 3, 1, 1), asked for 3 images, and a graph exported for one."""
    weight, mean = floats(10, 3 * 16), floats(3)
    nodes = [
        helper.make_node("Reshape", ["mean", "four"], ["m"]),
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    tensors = {"mean": mean, "four": whole(1, 3, 1, 1), "flat": whole(1, 48), "w": weight}
    save(tmp_path / "a.onnx", nodes, [1, 3, 4, 4], tensors)
    classifier = load_classifier(str(tmp_path / "a.onnx"))
    for count in (1, 2, 3, 7):
        x = torch.rand(count, 3, 4, 4)
        expected = (x - torch.from_numpy(mean).view(3, 1, 1)).flatten(1) @ torch.from_numpy(weight).T
        assert torch.allclose(classifier(x), expected, atol=1e-4)
    assert not classifier.network.fixed_batch


@pytest.mark.parametrize(
    "shape", [[1, 784], ["n", 784], [1, 784, 1], [784], [1, 28, 28], [28, 28, 1], [1, 28, 28, 1]]
)
def test_flat_and_odd_layouts_of_images(tmp_path: Path, shape: list[Any]) -> None:
    weight = floats(784, 10)
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    save(tmp_path / "a.onnx", nodes, shape, {"flat": whole(-1, 784), "w": weight})
    images = torch.rand(5, 1, 28, 28)
    program = read_onnx(read_copy(tmp_path / "a.onnx"))
    assert program.image_shape in (None, (1, 28, 28))
    network = build_network(program, (1, 28, 28))
    assert torch.allclose(network(images), images.flatten(1) @ torch.from_numpy(weight), atol=1e-4)


def test_channels_last_with_transposes_and_same_padding(tmp_path: Path) -> None:
    """As converters from TensorFlow write it."""
    kernel, weight = floats(4, 3, 3, 3), floats(4 * 4 * 4, 10)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "k"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["l"], perm=[0, 2, 3, 1]),
        helper.make_node("Shape", ["l"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["l", "target"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    tensors = {"k": kernel, "w": weight, "zero": np.array(0), "axes": whole(0), "rest": whole(-1)}
    save(tmp_path / "a.onnx", nodes, ["n", 8, 8, 3], tensors)
    classifier = load_classifier(str(tmp_path / "a.onnx"))
    assert classifier.info.input_shape == (3, 8, 8)
    x = torch.rand(3, 3, 8, 8, requires_grad=True)
    padded = torch.nn.functional.pad(
        x, (0, 1, 0, 1)
    )  # even size, stride 2: the odd pixel goes to the far side
    inner = torch.nn.functional.conv2d(padded, torch.from_numpy(kernel), stride=2).relu()
    expected = inner.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(weight)
    logits = classifier(x)
    assert torch.allclose(logits, expected, atol=1e-4)
    (ours,), (theirs,) = (torch.autograd.grad(y.square().sum(), x) for y in (logits, expected))
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_first_operator_set(tmp_path: Path) -> None:
    """Broadcast along an axis, shapes and limits as attributes, batch statistics as inputs."""
    kernel, bias, weight = floats(4, 1, 3, 3), floats(4), floats(4 * 9, 10)
    scale, shift, mean, var = floats(4), floats(4), floats(4), floats(4) ** 2 + 0.5
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Add", ["c", "b"], ["a"], broadcast=1, axis=1),
        helper.make_node(
            "BatchNormalization", ["a", "g", "s", "m", "v"], ["n"], is_test=1, consumed_inputs=[0] * 5
        ),
        helper.make_node("Clip", ["n"], ["l"], min=0.0, max=6.0),
        helper.make_node("Dropout", ["l"], ["d"], is_test=1, ratio=0.5),
        helper.make_node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p"], ["f"], shape=[-1, 36]),
        helper.make_node("Gemm", ["f", "w", "z"], ["y"], broadcast=1),
    ]
    tensors = {
        "k": kernel,
        "b": bias,
        "g": scale,
        "s": shift,
        "m": mean,
        "v": var,
        "w": weight,
        "z": floats(10),
    }
    save(tmp_path / "a.onnx", nodes, [1, 1, 8, 8], tensors, opset=1)
    x = torch.rand(4, 1, 8, 8)
    t = {name: torch.from_numpy(array) for name, array in tensors.items()}
    y = torch.nn.functional.batch_norm(
        torch.nn.functional.conv2d(x, t["k"], t["b"]), t["m"], t["v"], t["g"], t["s"]
    )
    expected = torch.nn.functional.max_pool2d(y.clamp(0, 6), 2).flatten(1) @ t["w"] + t["z"]
    assert torch.allclose(load_classifier(str(tmp_path / "a.onnx"))(x), expected, atol=1e-4)
