"""Weights and momenta in few bytes: what a way back of 60 MB takes of a ResNet-18 and its optimiser.

Of every float32 number the exponent is set apart and compressed, the rest is as good as random. `half` rounds the
tensors of two and more dimensions to bfloat16, as the trainer's passes on a GPU see them anyway; norms and biases stay
exact. Nothing in such a file names code: a header of names and shapes, then bytes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from robaudit.errors import RobauditError

_MAGIC = b"weights1"
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int64": torch.int64}
_WORDS: dict[str, np.dtype[Any]] = {"float32": np.dtype("<u4"), "bfloat16": np.dtype("<u2")}
_NAMES = {torch.float32: "F32", torch.int64: "I64"}  # of safetensors
_SIGNED = {"float32": torch.int32, "bfloat16": torch.int16}


def pack(tensors: dict[str, Tensor], *, half: bool, metadata: dict[str, str] | None = None) -> bytes:
    """`tensors` of float32 or int64 as bytes; with `half` rounded to bfloat16 where they have several dimensions."""
    entries, parts = [], []
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu().contiguous()
        if kept.dtype == torch.float32 and half and kept.dim() > 1:
            kept = kept.bfloat16()
        kind = str(kept.dtype).removeprefix("torch.")
        if kind not in _TYPES:
            raise RobauditError(f"{name}: is {kind}; only float32 and int64 can be packed")
        coded = _coded(kept, kind)
        entries.append(
            {"name": name, "type": kind, "shape": list(kept.shape), "sizes": [len(c) for c in coded]}
        )
        parts += coded
    head = json.dumps({"tensors": entries, "metadata": metadata or {}}).encode()
    return b"".join([_MAGIC, len(head).to_bytes(8, "little"), head, *parts])


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, float32 and int64, and the metadata that `pack` was given.

    Raises:
        RobauditError: the bytes are damaged.

    """
    if not data.startswith(_MAGIC):
        raise RobauditError("packed weights: begin with other bytes than they should; take the file again")
    try:
        start = len(_MAGIC) + 8
        place = start + int.from_bytes(data[len(_MAGIC) : start], "little")
        head = json.loads(data[start:place])
        tensors = {}
        for entry in head["tensors"]:
            ends = list(_running(entry["sizes"], place))
            parts = [data[a:b] for a, b in zip([place, *ends], ends, strict=False)]
            tensors[entry["name"]] = _decoded(parts, entry["type"], entry["shape"])
            place = ends[-1]
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise RobauditError(
            f"packed weights: are damaged ({type(error).__name__}); take the file again"
        ) from error
    return tensors, {str(key): str(value) for key, value in head["metadata"].items()}


def pack_file(path: Path, *, half: bool) -> bytes:
    """The tensors and the metadata of a `.safetensors` file.

    Raises:
        RobauditError: it cannot be read.

    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RobauditError(f"{path}: cannot be read ({error}); pass a .safetensors file") from error
    return pack(tensors, half=half, metadata=metadata)


def unpack_file(data: bytes, path: Path) -> None:
    """Write packed weights as a `.safetensors` file, which `robaudit check` loads as it would the original.

    The same bytes give the same file, and so the same digest in the evidence of audits.
    """
    tensors, metadata = unpack(data)
    head: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, place = [], 0
    for name, tensor in tensors.items():
        parts.append(tensor.contiguous().numpy().tobytes())
        kind = _NAMES[tensor.dtype]
        head[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [place, place + len(parts[-1])],
        }
        place += len(parts[-1])
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *parts]))


def _running(sizes: list[int], start: int) -> Iterator[int]:
    for size in sizes:
        start += size
        yield start


def _coded(tensor: Tensor, kind: str) -> list[bytes]:
    if kind not in _WORDS:
        return [zlib.compress(tensor.numpy().tobytes())]
    word = _WORDS[kind]
    words = tensor.view(_SIGNED[kind]).numpy().reshape(-1).view(word)
    turned = (words << 1) | (
        words >> (8 * word.itemsize - 1)
    )  # the sign goes last: the first byte is the exponent
    planes = turned.view(np.uint8).reshape(-1, word.itemsize)
    huffman = zlib.compressobj(6, zlib.DEFLATED, strategy=zlib.Z_HUFFMAN_ONLY)
    exponents = huffman.compress(planes[:, -1].tobytes()) + huffman.flush()
    return [exponents, *(planes[:, k].tobytes() for k in range(word.itemsize - 1))]


def _decoded(parts: list[bytes], kind: str, shape: list[int]) -> Tensor:
    count = math.prod(shape)
    if kind not in _WORDS:
        whole = np.frombuffer(zlib.decompress(parts[0]), dtype=np.int64)
        return torch.from_numpy(whole.copy()).reshape(shape)
    word = _WORDS[kind]
    planes: NDArray[np.uint8] = np.empty((count, word.itemsize), dtype=np.uint8)
    for k, part in enumerate([*parts[1:], zlib.decompress(parts[0])]):
        planes[:, k] = np.frombuffer(part, dtype=np.uint8)
    turned = planes.reshape(-1).view(word)
    words = (turned >> 1) | (turned << (8 * word.itemsize - 1))
    signed = torch.from_numpy(words.view(f"<i{word.itemsize}").copy())
    return signed.view(_TYPES[kind]).reshape(shape).float()
