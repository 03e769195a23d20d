"""`torch.export` files (`.pt2`) as networks: the graph is read as JSON and interpreted here.

Torch's own loader falls back to full unpickling and evaluates symbolic expressions as Python, so it is not
used. Only functional `aten` operators are called, by name, on tensors read as plain bytes.
"""

from __future__ import annotations

import io
import json
import operator
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.archives import open_archive, read_record
from robaudit.inputs.files.pickle_names import UnsafePickle, refuse_unsafe
from robaudit.inputs.files.pickles import check_tree, scan

#: `torch._export.serde.schema.ScalarType`.
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
GRAPH = 256 << 20
#: Operators that reach outside the tensors they are given, or draw random numbers.
CLOSED = re.compile(r"from_file|save|load|set_|resize|record|symint_to|_print|rand|bernoulli|normal_")
ARITHMETIC = {
    "_operator.mul": operator.mul, "_operator.add": operator.add, "_operator.sub": operator.sub,
    "_operator.floordiv": operator.floordiv, "_operator.truediv": operator.truediv, "_operator.mod": operator.mod,
    "_operator.getitem": operator.getitem, "_operator.eq": operator.eq, "_operator.ge": operator.ge,
    "_operator.le": operator.le, "_operator.gt": operator.gt, "_operator.lt": operator.lt,
    "_operator.pow": operator.pow, "_operator.neg": operator.neg,
}  # fmt: skip


def load_exported(path: Path) -> ExportedNetwork:
    """The network of a `.pt2` file.

    Raises:
        RobauditError: damaged, of an unknown version, or with operators other than torch's own.

    """
    try:
        with open_archive(path) as archive:
            document, tensors = _documents(archive, path)
            return ExportedNetwork(document["graph_module"], tensors)
    except RobauditError as error:
        text = str(error)
        raise RobauditError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except Exception as error:
        raise RobauditError(
            f"{path}: a damaged or unknown .pt2 file ({type(error).__name__}); export it again"
        ) from error


def _documents(archive: zipfile.ZipFile, path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    names = archive.namelist()
    graphs = [
        name for name in names if re.search(r"(models/\w+\.json|serialized_exported_program\.json)$", name)
    ]
    if not graphs:
        raise RobauditError("holds no exported graph; export it with torch.export.save")
    document = json.loads(read_record(archive, graphs[0], GRAPH))
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        if name.endswith("_weights_config.json") or name.endswith("_constants_config.json"):
            folder = name.rsplit("/", 1)[0]
            for key, entry in json.loads(read_record(archive, name, GRAPH))["config"].items():
                tensors[key] = _tensor(archive, f"{folder}/{entry['path_name']}", entry)
        elif name.endswith(("serialized_state_dict.pt", "serialized_constants.pt")):
            tensors |= _pickled(read_record(archive, name, path.stat().st_size), path)
    return document, tensors


def _tensor(archive: zipfile.ZipFile, name: str, entry: dict[str, Any]) -> torch.Tensor:
    if entry.get("use_pickle"):
        raise RobauditError(f"keeps {name} as a pickle; export plain tensors only")
    meta = entry["tensor_meta"]
    sizes: list[int]
    sizes, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
    offset = int(meta.get("storage_offset", {}).get("as_int", 0))
    dtype = DTYPES[meta["dtype"]]
    data = read_record(archive, name, archive.getinfo(name).file_size)
    count = len(data) // dtype.itemsize
    total = torch.Size(sizes).numel()
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if min([*sizes, *strides, offset, 0]) < 0 or (total and (last >= count or total > count)):
        raise RobauditError(f"{name} claims shape {sizes}, more than it holds; export it again")
    if not count:
        return torch.zeros(sizes, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).as_strided(sizes, strides, offset).clone()


def _pickled(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a state dict inside an older archive, checked as any checkpoint is."""
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        records = {record.filename: record.file_size for record in inner.infolist()}
        name = next(name for name in records if name.endswith("data.pkl"))
        pickled = inner.read(name)
    folder = name.removesuffix("data.pkl") + "data/"
    try:
        names, _ = scan(pickled)
        refuse_unsafe(names)
        check_tree(pickled, 0, lambda key, _: records.get(folder + key, -1))
    except UnsafePickle as error:
        raise RobauditError(f"{path}: {error}; export it again") from error
    tree = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return {key: value for key, value in tree.items() if isinstance(value, torch.Tensor)}


def _operator(target: str) -> Any:
    """The function of a node's target.

    Raises:
        RobauditError: not a functional operator of torch's own.

    """
    if target in ARITHMETIC:
        return ARITHMETIC[target]
    match = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target)
    if not match or CLOSED.search(match[1]):
        raise RobauditError(
            f"needs the operator {target[:80]}, which is not torch's own arithmetic; export it without"
        )
    try:
        return getattr(getattr(torch.ops.aten, match[1]), match[2])
    except AttributeError:
        raise RobauditError(f"needs {target}, unknown to this torch; export it again") from None


class ExportedNetwork(nn.Module):
    """Images, already normalised, to the first output (N, classes)."""

    def __init__(self, module: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        graph, signature = module["graph"], module["signature"]
        self.nodes = [(_operator(node["target"]), node) for node in graph["nodes"]]
        self.sources: dict[str, str] = {}
        images = []
        for entry in signature["input_specs"]:
            kind, value = next(iter(entry.items()))
            if kind == "user_input":
                images.append(next(iter(value["arg"].values()))["name"])
                continue
            wanted = next(text for key, text in value.items() if key.endswith("_name"))
            name = f"tensor{len(self.sources)}"
            tensor = tensors[wanted]
            self.sources[value["arg"]["name"]] = name
            if kind == "parameter":
                self.register_parameter(name, nn.Parameter(tensor.float(), requires_grad=False))
            else:
                self.register_buffer(name, tensor)
        if len(images) != 1:
            raise RobauditError(f"takes {len(images)} inputs; a classifier takes one batch of images")
        self.image = images[0]
        shape = graph["tensor_values"][self.image]["sizes"]
        self.shape = [int(size.get("as_int", 0)) for size in shape]
        outputs = [spec["user_output"] for spec in signature["output_specs"] if "user_output" in spec]
        self.output = outputs[0]["arg"]["as_tensor"]["name"]
        self.single = False

    def image_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) where the graph fixes them."""
        return tuple(self.shape[1:]) if len(self.shape) == 4 and min(self.shape[1:]) > 0 else None  # type: ignore[return-value]

    def settle(self) -> ExportedNetwork:
        """Run in slices where the graph was exported for one batch size."""
        self.single = self.shape[0] > 0
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits; a fixed batch size is met by slices, the last one filled up."""
        size = self.shape[0]
        if not self.single or len(x) == size:
            return self.run(x)
        rows = torch.cat([x, x[:1].expand(-len(x) % size, -1, -1, -1)])
        return torch.cat([self.run(part) for part in rows.split(size)])[: len(x)]

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Evaluate the nodes in order."""
        values: dict[str, Any] = {name: getattr(self, own) for name, own in self.sources.items()}
        values[self.image] = x
        for function, node in self.nodes:
            positional, named = [], {}
            for item in node["inputs"]:
                value = _argument(item["arg"], values)
                if item.get("kind", 1) == 2:
                    named[item["name"]] = value
                else:
                    positional.append(value)
            result = function(*positional, **named)
            _store(node["outputs"], result, values)
        output: torch.Tensor = values[self.output]
        return output


def _argument(argument: dict[str, Any], values: dict[str, Any]) -> Any:
    """A node's argument as a Python value."""
    kind, value = next(iter(argument.items()))
    if kind == "as_none":
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
    if kind == "as_memory_format":
        return {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}.get(value)
    if kind in ("as_device", "as_layout"):
        return None
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"):
        return value
    raise RobauditError(
        f"has an argument of kind {kind}, which is not supported; pass the PyTorch checkpoint"
    )


def _store(outputs: list[dict[str, Any]], result: Any, values: dict[str, Any]) -> None:
    results = list(result) if isinstance(result, (tuple, list)) and len(outputs) > 1 else [result]
    for output, value in zip(outputs, results, strict=False):
        kind, where = next(iter(output.items()))
        if kind == "as_tensors":
            values.update({item["name"]: part for item, part in zip(where, value, strict=True)})
        elif kind == "as_tensor":
            values[where["name"]] = value
        elif kind.startswith("as_sym_"):
            values[where["as_name"]] = value
