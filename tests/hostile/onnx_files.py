"""Hostile ONNX files: tricks by name, and mutations of a graph's own attributes, operators, links and numbers."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.hostile.harness import Case
from tests.hostile.programs import ESCAPE, NUMBERS, onnx_model


def with_nodes(nodes: list[Any], **tensors: Any) -> bytes:
    """The net with ONNX nodes before it, whose result, y0, is part of the answer."""
    from onnx import helper, numpy_helper

    model = copy.deepcopy(onnx_model())
    graph = model.graph
    tail = [
        helper.make_node("Cast", ["y0"], ["y1"], to=1),
        helper.make_node("ReduceMax", ["y1"], ["y2"], keepdims=0),
        helper.make_node("Mul", ["y2", "zero"], ["y3"]),
        helper.make_node("Add", ["x", "y3"], ["x_new"]),
    ]
    for node in graph.node:
        node.input[:] = ["x_new" if name == "x" else name for name in node.input]
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *tail, *old])
    constants = {"zero": np.float32(0)} | tensors
    graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items())
    data: bytes = model.SerializeToString()
    return data


def onnx_tricks() -> Iterator[Case]:
    """Graphs that allocate, divide, nest or read what they must not."""
    from onnx import helper

    make, whole = helper.make_node, lambda *n: np.array(n, np.int64)
    least, ones = whole(-(1 << 63)), np.ones((1, 1, 3, 3), np.float32)
    column, row = np.ones((1 << 17, 1), np.float32), np.ones((1, 1 << 17), np.float32)
    single: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
        "divide": ("Div", [least, whole(-1)], {}),
        "divide by zero": ("Div", [whole(1), whole(0)], {}),
        "mod": ("Mod", [least, whole(-1)], {}),
        "mod by zero": ("Mod", [whole(1), whole(0)], {}),
        "fmod": ("Mod", [least, whole(-1)], {"fmod": 1}),
        "shape": ("ConstantOfShape", [whole(1 << 40)], {}),
        "negative": ("ConstantOfShape", [whole(-5)], {}),
        "outer": ("Add", [column, row], {}),
        "equal": ("Equal", [column, row], {}),
        "matmul": ("MatMul", [column, row], {}),
        "einsum": ("Einsum", [column[:2048, 0]] * 3, {"equation": "i,j,k->ijk"}),
        "einsum text": ("Einsum", [row], {"equation": b"\xff\xfe"}),
        "tile": ("Tile", ["x", whole(1, 1, 1 << 14, 1 << 14)], {}),
        "expand": ("Expand", ["zero", whole(1 << 30)], {}),
        "gather": ("Gather", ["x", np.zeros(1 << 23, np.int64)], {"axis": 3}),
        "pad": ("Pad", ["x", whole(0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20)], {}),
        "conv pads": ("Conv", ["x", ones], {"pads": [1 << 20] * 4}),
        "conv steps": ("Conv", ["x", ones], {"strides": [0, 0]}),
        "conv space": ("Conv", ["x", ones], {"dilations": [1 << 40] * 2}),
        "transposed": ("ConvTranspose", ["x", ones], {"strides": [1 << 14] * 2}),
        "group": ("Conv", ["x", ones], {"group": 0}),
        "pool": ("MaxPool", ["x"], {"kernel_shape": [1 << 20] * 2, "pads": [1 << 12] * 4}),
        "lrn": ("LRN", ["x"], {"size": 1 << 30}),
        "average": ("AveragePool", ["x"], {"kernel_shape": [16000] * 2, "dilations": [2, 2]}),
        "d2s": ("DepthToSpace", ["x"], {"blocksize": 0}),
        "s2d": ("SpaceToDepth", ["x"], {"blocksize": -1}),
        "range": ("Range", [np.float32(0), np.float32(1e30), np.float32(1)], {}),
        "range zero": ("Range", [np.float32(0), np.float32(1), np.float32(0)], {}),
        "range nan": ("Range", [np.float32(0), np.float32("nan"), np.float32(1)], {}),
        "norm": (
            "GroupNormalization",
            ["x", np.ones(1, np.float32), np.ones(1, np.float32)],
            {"num_groups": 0},
        ),
        "scatter": ("ScatterND", ["zero", whole(1 << 40).reshape(1, 1), np.ones(1, np.float32)], {}),
        "resize": (
            "Resize",
            ["x", "", np.array([1, 1, 1 << 12, 1 << 12], np.float32)],
            {"coordinate_transformation_mode": "asymmetric"},
        ),
        "resize text": ("Resize", ["x", "", np.array([1, 1, 2, 2], np.float32)], {"mode": ESCAPE}),
        "slice": ("Slice", ["x", whole(0), whole(1), whole(99)], {}),
        "custom": (ESCAPE, ["x"], {}),
        "domain": ("Relu", ["x"], {"domain": ESCAPE}),
        "image": ("Div", ["x", whole(0)], {}),
        "work": ("MatMul", [np.ones((1 << 13, 1 << 13), np.float32)] * 2, {}),
    }
    for name, (operator, inputs, attributes) in single.items():
        tensors = {f"t{i}": item for i, item in enumerate(inputs) if not isinstance(item, str)}
        names = [item if isinstance(item, str) else f"t{i}" for i, item in enumerate(inputs)]
        again = [make(operator, names, ["y0"], **attributes)]
        if name == "work":
            again = [make("MatMul", ["t0" if i == 0 else f"w{i}", "t1"], [f"w{i + 1}"]) for i in range(64)]
            again.append(make("Identity", ["w64"], ["y0"]))
        yield Case(f"onnx {name}", with_nodes(again, **tensors), "onnx", name in {"gather", "image"})
    many = [make("ConstantOfShape", ["s"], [f"z{i}"]) for i in range(16)]
    summed = [make("Sum", [f"z{i}" for i in range(16)], ["y0"])]
    yield Case("onnx together", with_nodes([*many, *summed], s=whole(1 << 27)), "onnx")
    resized = [
        make("Resize", ["x", "", "s"], [f"z{i}"], coordinate_transformation_mode="asymmetric")
        for i in range(20)
    ]
    sizes = np.array([1, 1, 1500, 1500], np.float32)
    yield Case(
        "onnx held",
        with_nodes([*resized, make("Sum", [f"z{i}" for i in range(20)], ["y0"])], s=sizes),
        "onnx",
    )
    yield from _onnx_structures()


def _onnx_structures() -> Iterator[Case]:
    from onnx import helper

    inner = helper.make_graph([], "s", [], [])
    for name in ("Loop", "Scan"):
        yield Case(f"onnx {name}", with_nodes([helper.make_node(name, ["x"], ["y0"], body=inner)]), "onnx")
    yield Case(
        "onnx If",
        with_nodes([helper.make_node("If", ["x"], ["y0"], then_branch=inner, else_branch=inner)]),
        "onnx",
    )
    nested = b""
    for _ in range(30_000):
        for field in (b"\x32", b"\x2a", b"\x0a"):
            nested = field + _varint(len(nested)) + nested
    yield Case("onnx nested", b"\x08\x07\x3a" + _varint(len(nested)) + nested, "onnx")

    def changed(name: str, change: Callable[[Any], Any], harmless: bool = False) -> Case:
        model = copy.deepcopy(onnx_model())
        change(model)
        return Case(f"onnx {name}", model.SerializeToString(), "onnx", harmless)

    def external(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location, tensor.name = 1, ESCAPE
        for key, value in (("location", "/etc/passwd"), ("offset", "0"), ("length", "64")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    yield changed("external", external)
    yield changed("functions", lambda m: m.functions.add(name="Relu", domain=""))
    yield changed("cycle", lambda m: m.graph.node[0].input.__setitem__(0, m.graph.node[-1].output[0]))
    yield changed("twice", lambda m: m.graph.node[1].output.__setitem__(0, m.graph.node[0].output[0]))
    yield changed("no input", lambda m: m.graph.ClearField("input"))
    yield changed("no output", lambda m: m.graph.output[0].__setattr__("name", ESCAPE))
    yield changed("type", lambda m: m.graph.initializer[0].__setattr__("data_type", 99))
    yield changed("texts", lambda m: m.graph.initializer[0].__setattr__("data_type", 8))
    yield changed(
        "dead",
        lambda m: m.graph.node.extend(helper.make_node("Relu", ["x"], [f"q{i}"]) for i in range(30_000)),
        True,
    )
    for dims in ([1 << 40], [-1, 4], [1 << 32, 1 << 32], [0, 1 << 60], [1 << 62, 1 << 62]):
        yield changed(
            f"dims {dims}", lambda m, dims=dims: m.graph.initializer[0].dims.__setitem__(slice(None), dims)
        )
    for size in (1 << 40, -8, 30_000):
        shape = "m.graph.input[0].type.tensor_type.shape.dim"
        yield changed(f"image {shape[:0]}{size}", lambda m, size=size: _sized(m, size), True)


def _sized(model: Any, size: int) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = size


def _varint(number: int) -> bytes:
    out = b""
    while True:
        low, number = number & 127, number >> 7
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def onnx_mutations(count: int) -> Iterator[Case]:
    """The graph's own attributes, operators, shapes, links and numbers exchanged or made extreme."""
    from onnx import helper, numpy_helper

    operators = (
        "Add",
        "Div",
        "Mod",
        "MatMul",
        "Reshape",
        "Gather",
        "Slice",
        "Concat",
        "Expand",
        "Tile",
        "Pad",
        "Resize",
        "Pow",
        "Conv",
        "MaxPool",
        "Softmax",
        "Flatten",
        "Transpose",
        "Split",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "ConstantOfShape",
        "ScatterND",
        "ReduceMean",
        "Gemm",
        "Where",
        "Range",
        "LRN",
        "DepthToSpace",
        "CumSum",
        "Clip",
    )
    for seed in range(count):
        rng = random.Random(seed)
        model = copy.deepcopy(onnx_model())
        nodes, tensors = model.graph.node, model.graph.initializer
        for _ in range(rng.randint(1, 3)):
            node, kind = rng.choice(nodes), rng.randrange(5)
            if kind == 0:
                node.op_type = rng.choice(operators)
            elif kind == 1 and node.attribute:
                attribute = rng.choice(node.attribute)
                numbers = [rng.choice(NUMBERS) for _ in range(rng.randint(1, 4))]
                attribute.CopyFrom(
                    helper.make_attribute(attribute.name, numbers if attribute.type == 7 else numbers[0])
                )
            elif kind == 2:
                names = [name for other in nodes for name in other.output] + [
                    tensor.name for tensor in tensors
                ]
                node.input[:] = [rng.choice(names) if rng.random() < 0.5 else name for name in node.input]
            elif kind == 3:
                numbers = np.array([rng.choice(NUMBERS) for _ in range(rng.randint(1, 4))], np.int64)
                tensor = rng.choice(tensors)
                tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
            else:
                rng.choice(tensors).dims[:] = [rng.choice(NUMBERS) for _ in range(rng.randint(0, 4))]
        yield Case(f"onnx mutation {seed}", model.SerializeToString(), "onnx", harmless=True)
