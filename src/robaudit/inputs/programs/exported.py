"""`torch.export` files (`.pt2`) as programs: the graph is read as JSON, tensors as plain bytes.

Torch's own loader falls back to full unpickling and evaluates symbolic expressions as Python, so it is not
used. Operators are looked up by name in a table of functions; there is no way to name another one.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import Archive, open_archive
from robaudit.inputs.files.checkpoints import read_archive
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.pickles import UnsafePickle
from robaudit.inputs.files.quantised import check_exported
from robaudit.inputs.files.tensors import TENSORS, Storage, flat_tensor
from robaudit.inputs.programs.aten import OPERATORS
from robaudit.inputs.programs.network import Program, Shape
from robaudit.inputs.programs.steps import Step, follow, needed

#: `torch._export.serde.schema.ScalarType`.
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
GRAPH = 256 << 20
#: Settings that say where and how a tensor lies, which does not change what it holds.
PLACING = {"layout", "device", "pin_memory", "memory_format", "non_blocking"}
ARITHMETIC = {"_operator.getitem": operator.getitem, "_operator.truediv": OPERATORS["div"]} | {
    f"_operator.{name}": OPERATORS[name]
    for name in ("mul", "add", "sub", "floordiv", "mod", "eq", "ge", "le", "gt", "lt", "pow", "neg")
}


def read_exported(copy: FileCopy) -> Program:
    """The program of a `.pt2` file.

    Raises:
        RobauditError: damaged, of an unknown version, or with operators other than torch's own.

    """
    path = copy.path
    try:
        document, tensors = _documents(open_archive(copy))
        return _program(document["graph_module"], tensors)
    except RobauditError as error:
        text = str(error)
        raise RobauditError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except Exception as error:
        raise RobauditError(
            f"{path}: a damaged or unknown .pt2 file ({type(error).__name__}); export it again"
        ) from error


def _documents(archive: Archive) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    names = archive.names
    graphs = [
        name for name in names if re.search(r"(models/\w+\.json|serialized_exported_program\.json)$", name)
    ]
    if not graphs:
        raise RobauditError("holds no exported graph; export it with torch.export.save")
    document = _json(archive, graphs[0])
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        if name.endswith("_weights_config.json") or name.endswith("_constants_config.json"):
            folder = name.rsplit("/", 1)[0]
            for key, entry in _json(archive, name)["config"].items():
                tensors[key] = _tensor(archive, f"{folder}/{entry['path_name']}", entry)
        elif name.endswith(("serialized_state_dict.pt", "serialized_constants.pt")):
            tensors |= _pickled(archive, name)
    return document, tensors


def _json(archive: Archive, name: str) -> Any:
    return json.loads(bytes(archive.read(name, GRAPH)), parse_int=_whole)


def _tensor(archive: Archive, name: str, entry: dict[str, Any]) -> torch.Tensor:
    if entry.get("use_pickle"):
        raise RobauditError(f"keeps {name[:60]!r} as a pickle; export plain tensors only")
    meta = entry["tensor_meta"]
    sizes, strides = (tuple(n["as_int"] for n in meta[key]) for key in ("sizes", "strides"))
    dtype, data = DTYPES[meta["dtype"]], archive.read(name, archive.size(name))
    storage = Storage(flat_tensor(data, dtype, len(data) // dtype.itemsize))
    offset = meta.get("storage_offset", {}).get("as_int", 0)
    try:
        found: torch.Tensor = TENSORS["torch._utils _rebuild_tensor_v2"](storage, offset, sizes, strides)
    except UnsafePickle as error:
        raise RobauditError(f"{name[:60]!r}: {error}; export it again") from error
    return found


def _pickled(archive: Archive, name: str) -> dict[str, torch.Tensor]:
    """Tensors of a state dict inside an older archive: an archive itself, through the same door."""
    inner = open_archive(FileCopy(archive.path, archive.read(name, archive.size(name))))
    tree = read_archive(inner)
    tree = tree if isinstance(tree, dict) else {}
    return {key: value for key, value in tree.items() if isinstance(value, torch.Tensor)}


def _operator(target: str) -> Any:
    """The function of a node's target.

    Raises:
        RobauditError: it is not in the table.

    """
    if target in ARITHMETIC:
        return ARITHMETIC[target]
    match = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target)
    if not match or match[1] not in OPERATORS or "out" in match[2]:
        raise RobauditError(
            f"needs the operator {target[:80]!r}, which is not torch's own arithmetic; export it without"
        )
    return OPERATORS[match[1]]


def _program(module: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Program:
    """What a graph and its signature say.

    Raises:
        RobauditError: operators that are not in the table, or other inputs than one batch of images.
        Exception: the document is not as torch writes it.

    """
    graph, signature = module["graph"], module["signature"]
    check_exported(node["target"] for node in graph["nodes"])
    known: dict[str, Any] = {}
    learned, images = [], []
    for entry in signature["input_specs"]:
        kind, value = next(iter(entry.items()))
        if kind == "user_input":
            images.append(next(iter(value["arg"].values()))["name"])
            continue
        wanted = next(text for key, text in value.items() if key.endswith("_name"))
        known[value["arg"]["name"]] = _single(tensors[wanted])
        if kind == "parameter":
            learned.append(known[value["arg"]["name"]])
    if len(images) != 1:
        raise RobauditError(f"takes {len(images)} inputs; a classifier takes one batch of images")
    sizes = [int(size.get("as_int", 0)) for size in graph["tensor_values"][images[0]]["sizes"]]
    shape: Shape | None = None
    if len(sizes) == 4 and min(sizes[1:]) > 0:
        shape = sizes[1], sizes[2], sizes[3]
    outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    names = [arg["as_tensor"]["name"] for arg in outputs if "as_tensor" in arg]
    steps = needed([_step(node) for node in graph["nodes"]], names)

    def run(x: Any) -> Any:
        return dict(zip(names, follow(steps, {**known, images[0]: x}, names), strict=True))

    return Program(run, learned, shape, max(sizes[0], 0))


def _single(tensor: torch.Tensor) -> torch.Tensor:
    """Fractions in single precision."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _step(node: dict[str, Any]) -> Step:
    function, arguments = _operator(node["target"]), node["inputs"]
    takes = tuple(dict.fromkeys(name for item in arguments for name in _names(item["arg"])))
    gives: list[Any] = []
    for output in node["outputs"]:
        kind, where = next(iter(output.items()))
        names = where if kind == "as_tensors" else [where]
        gives += [
            name.get("name", name.get("as_name", "")) if isinstance(name, dict) else "" for name in names
        ]

    def run(values: dict[str, Any]) -> Any:
        positional, named = [], {}
        for item in arguments:
            value = _argument(item["arg"], values)
            if item.get("kind", 1) != 2:
                positional.append(value)
            elif item["name"] == "out":
                raise RobauditError("writes into a tensor that it is given; export it without")
            elif item["name"] not in PLACING:
                named[item["name"]] = value
        result = function(*positional, **named)
        return result if isinstance(result, (tuple, list)) and len(gives) > 1 else [result]

    overwrites = re.fullmatch(r".*[a-z0-9]_\.\w+", node["target"]) is not None
    return Step(takes, tuple(gives), run, overwrites)


def _names(argument: dict[str, Any]) -> Iterator[str]:
    """The values that an argument is made of."""
    kind, value = next(iter(argument.items()))
    if kind in ("as_tensor", "as_tensors", "as_optional_tensors") or kind.startswith("as_sym_"):
        for item in value if isinstance(value, list) else [value]:
            name = item.get("name", item.get("as_name", item.get("as_tensor", {})))
            yield from [name] if isinstance(name, str) else [name["name"]] if name else []


def _argument(argument: dict[str, Any], values: dict[str, Any]) -> Any:
    """A node's argument as a Python value."""
    kind, value = next(iter(argument.items()))
    if kind in ("as_none", "as_device", "as_layout", "as_memory_format"):
        return None
    if kind == "as_tensor":
        return values[value["name"]]
    if kind in ("as_tensors", "as_optional_tensors"):
        return [values[v["name"]] if "name" in v else _argument(v, values) for v in value]
    if kind.startswith("as_sym_"):
        items = value if isinstance(value, list) else [value]
        found = [
            values[v["as_name"]] if "as_name" in v else v.get("as_int", v.get("as_float", v.get("as_bool")))
            for v in items
        ]
        return found if isinstance(value, list) else found[0]
    if kind == "as_scalar_type":
        return DTYPES[value]
    if kind == "as_float":
        return float(value)  # infinity is a text
    if kind in ("as_int", "as_ints", "as_floats", "as_bool", "as_bools", "as_string"):
        return value
    raise RobauditError(
        f"has an argument of the kind {kind[:40]!r}, not supported; pass the PyTorch checkpoint"
    )


def _whole(digits: str) -> int:
    """A number of the document, if torch could have written it."""
    number = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise RobauditError("has a number that is too large (limit 2^63); export it again")
    return number
