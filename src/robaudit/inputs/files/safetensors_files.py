"""The safetensors format: a JSON header of names, shapes and places, then the numbers.

Written here because the `safetensors` package reads from a path, or copies everything twice; the format is one page
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.tensors import flat_tensor

#: Bytes that a header may have, as in the package.
HEADER = 100_000_000
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64,
}  # fmt: skip


def is_safetensors(copy: FileCopy) -> bool:
    """Whether the first bytes are a header's size and a JSON object's beginning."""
    return len(copy) > 9 and copy.data[8] == ord("{") and int.from_bytes(copy.data[:8], "little") < len(copy)


def read_safetensors(copy: FileCopy) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file, which share its bytes, and the texts in its header.

    Raises:
        RobauditError: it is damaged, or its header says what is not so.

    """
    try:
        return _read(copy.data)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise RobauditError(
            f"{copy.path}: is a damaged or cut-short safetensors file; download it again"
        ) from error


def _read(data: memoryview) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER, len(data) - 8):
        raise ValueError("no header")
    header = json.loads(str(data[8 : 8 + size], "utf-8"), object_pairs_hook=_once)
    numbers = data[8 + size :]
    metadata = header.pop("__metadata__", None) or {}
    reached = 0
    tensors: dict[str, torch.Tensor] = {}
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        dtype, shape, (start, end) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if any(type(n) is not int or not 0 <= n < 1 << 60 for n in (*shape, start, end)) or len(shape) > 64:
            raise ValueError(
                "a shape with a negative or too large a number (limit 2^60), or too many dimensions (limit 64)"
            )
        count = math.prod(shape)
        if start != reached or end - start != count * dtype.itemsize or end > len(numbers):
            raise ValueError("places that do not follow each other")
        reached = end
        tensors[name] = flat_tensor(numbers[start:end], dtype, count).reshape(shape)
    if reached != len(numbers):
        raise ValueError("bytes after the last tensor")
    texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    return {name: tensors[name] for name in sorted(header)}, texts  # as the package gives them


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object no name of which stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
