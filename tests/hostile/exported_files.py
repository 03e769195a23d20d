"""Hostile `.pt2` files: tricks by name, and mutations of a document's own numbers, names and targets."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tests.hostile.harness import Case
from tests.hostile.programs import ESCAPE, NUMBERS, exported, rewritten


def with_document(change: Callable[[Any], Any], extra: dict[str, bytes] | None = None) -> bytes:
    """The exported net with a changed graph."""

    def rewrite(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        document = json.loads(data)
        found = change(document)
        return found if isinstance(found, bytes) else json.dumps(document).encode()

    return rewritten(exported(), rewrite, extra)


def _node(target: str, *args: Any, out: str = "y", named: dict[str, Any] | None = None) -> dict[str, Any]:
    inputs = [{"name": f"a{i}", "arg": arg, "kind": 1} for i, arg in enumerate(args)]
    inputs += [{"name": name, "arg": arg, "kind": 2} for name, arg in (named or {}).items()]
    return {"target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": out}}], "metadata": {}}


def with_node(target: str, *args: Any, named: dict[str, Any] | None = None) -> bytes:
    """The exported net with a node before it whose result, y, is part of the answer."""

    def change(document: Any) -> None:
        graph = document["graph_module"]["graph"]
        image = next(
            iter(document["graph_module"]["signature"]["input_specs"][-1]["user_input"]["arg"].values())
        )["name"]
        whole, by_name = json.loads(json.dumps([args, named]).replace('"IMAGE"', json.dumps(image)))
        tail = [
            _node("torch.ops.aten.sum.default", {"as_tensor": {"name": "y"}}, out="y1"),
            _node("torch.ops.aten.mul.Tensor", {"as_tensor": {"name": "y1"}}, {"as_float": 0.0}, out="y2"),
            _node(
                "torch.ops.aten.add.Tensor",
                {"as_tensor": {"name": image}},
                {"as_tensor": {"name": "y2"}},
                out="x_new",
            ),
        ]
        nodes = json.loads(json.dumps(graph["nodes"]).replace(json.dumps(image), '"x_new"'))
        graph["nodes"] = [_node(target, *whole, named=by_name), *tail, *nodes]

    return with_document(change)


def exported_tricks() -> Iterator[Case]:
    """Graphs that name, allocate or divide what they must not."""
    tensor, image = {"as_tensor": {"name": "p_fc_weight"}}, {"as_tensor": {"name": "IMAGE"}}
    one: Callable[[int], Any] = lambda n: {"as_int": n}  # noqa: E731
    some: Callable[..., Any] = lambda *n: {"as_ints": list(n)}  # noqa: E731
    aten = "torch.ops.aten."
    nodes: dict[str, tuple[Any, ...]] = {
        "from_file": (aten + "from_file.default", {"as_string": "/etc/passwd"}, {"as_bool": False}, one(9)),
        "custom": ("torch.ops.mine.run.default", image),
        "os": ("os.system", {"as_string": "true"}),
        "globals": (aten + "relu.default.__globals__", image),
        "higher": ("torch.ops.higher_order.cond", image),
        "out": (aten + "add.out", image, image),
        "rand": (aten + "rand.default", some(3)),
        "sparse": (aten + "_sparse_coo_tensor_unsafe.default", image, image, some(4)),
        "segment": (aten + "segment_reduce.default", image, {"as_string": "sum"}),
        "as_strided": (aten + "as_strided.default", image, some(64), some(1), one(1 << 30)),
        "resize_": (aten + "resize_.default", tensor, some(1 << 40)),
        "set_": (aten + "set_.default", tensor),
        "zero_": (aten + "zero_.default", tensor),
        "copy_": (aten + "copy_.default", tensor, tensor),
        "zeros": (aten + "zeros.default", some(1 << 40)),
        "full": (aten + "full.default", some(1 << 29), one(1)),
        "pow": ("_operator.pow", one(10), one(10**9)),
        "list": ("_operator.mul", some(*[1] * 1000), one(10**7)),
        "text": ("_operator.mul", {"as_string": "a" * 1000}, one(10**7)),
        "floordiv": ("_operator.floordiv", one(1), one(0)),
        "select": (aten + "select.int", image, one(3), one(1 << 40)),
        "repeat": (aten + "repeat.default", image, some(1, 1, 1 << 20, 1 << 20)),
        "conv": (aten + "conv2d.default", image, image, {"as_none": True}, some(0, 0)),
        "view": (aten + "view.default", image, some(-5)),
        "shuffle": (aten + "channel_shuffle.default", image, one(0)),
        "unknown": (aten + "relu.default", {"as_graph": {}}),
        "missing": (aten + "relu.default", {"as_tensor": {"name": "no such" + ESCAPE}}),
        "escape": ("torch.ops." + ESCAPE, image),
    }
    for name, (target, *args) in nodes.items():
        yield Case(f"pt2 {name}", with_node(target, *args), "pt2")
    yield Case("pt2 out=", with_node(aten + "add.Tensor", image, image, named={"out": image}), "pt2")
    for name, data in {
        "deep": b"[" * 100_000 + b"]" * 100_000,
        "nan": b'{"graph_module": NaN}',
        "digits": b'{"graph_module": ' + b"9" * 9000 + b"}",
        "list": b"[]",
        "empty": b"",
    }.items():
        yield Case(f"pt2 document {name}", with_document(lambda _, data=data: data), "pt2")
    yield Case("pt2 dead", with_document(lambda d: _lengthen(d, 30_000)), "pt2", harmless=True)
    extra = {"x/data/constants/evil.pkl": b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00true\x85R."}
    yield Case("pt2 extra", with_document(lambda d: None, extra), "pt2", harmless=True)
    yield Case("pt2 inner bomb", _with_inner(), "pt2")


def _lengthen(document: Any, count: int) -> None:
    graph = document["graph_module"]["graph"]
    image = next(
        iter(document["graph_module"]["signature"]["input_specs"][-1]["user_input"]["arg"].values())
    )["name"]
    graph["nodes"] += [
        _node("torch.ops.aten.relu.default", {"as_tensor": {"name": image}}, out=f"d{i}")
        for i in range(count)
    ]


def _with_inner() -> bytes:
    """An older archive whose state dict is a zip that grows a thousand times."""
    inner, out = io.BytesIO(), io.BytesIO()
    torch.save({"conv.weight": torch.zeros(4, 1, 3, 3)}, inner)
    packed = io.BytesIO()
    with zipfile.ZipFile(inner) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            grown = bytes(300 << 20) if record.filename.endswith("data/0") else old.read(record)
            new.writestr(record.filename, grown)
    with zipfile.ZipFile(io.BytesIO(exported())) as archive, zipfile.ZipFile(out, "w") as new:
        name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        new.writestr("serialized_exported_program.json", archive.read(name))
        new.writestr("serialized_state_dict.pt", packed.getvalue())
    return out.getvalue()


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, (*path, key))
    else:
        yield path


def exported_mutations(count: int) -> Iterator[Case]:
    """The document's own numbers, names and targets exchanged, left out or made extreme."""
    with zipfile.ZipFile(io.BytesIO(exported())) as archive:
        names = [n for n in archive.namelist() if n.endswith(("models/model.json", "_config.json"))]
        documents = {name: json.loads(archive.read(name)) for name in names}
    names = [name for name in names if any(_leaves(documents[name]))]
    for seed in range(count):
        rng = random.Random(seed)
        name = rng.choice(names)
        document = copy.deepcopy(documents[name])
        places = [path for path in _leaves(document) if path[0] != "metadata" and "metadata" not in path]
        for _ in range(rng.randint(1, 2)):
            *path, last = rng.choice(places)
            owner = document
            for key in path:
                owner = owner[key]
            other: Any = document
            for key in rng.choice(places):
                other = other[key]
            new = rng.choice([*NUMBERS, other, other, None, "", "x", True, 1e300, [], {}, [1 << 40] * 3])
            owner[last] = (
                new if rng.random() < 0.5 or not isinstance(owner[last], int) else rng.choice(NUMBERS)
            )
        data = json.dumps(document).encode()
        changed = rewritten(exported(), lambda n, d, name=name, data=data: data if n == name else d)
        yield Case(f"pt2 mutation {seed}", changed, "pt2", harmless=True)
