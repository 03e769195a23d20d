"""Tensors from a pickle's description: built here, out of bytes that are there, once every number is checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from robaudit.inputs.files.pickles import Builders, Inert, Name, UnsafePickle

#: What PyTorch calls a storage of each type.
STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
    "QInt8": torch.int8, "QUInt8": torch.uint8, "QInt32": torch.int32,
}  # fmt: skip
#: Types of tensors over untyped storages.
DTYPES = {
    f"torch {str(dtype).removeprefix('torch.')}": dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64,
        torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
    )
}  # fmt: skip
#: Numbers that a tensor may have more than its storage has, as those that repeat a row do.
REPEATED = 1 << 16
#: Kinds of tensors that are told and not rebuilt, by the function that would.
LACKING = {
    "qtensor": "quantised", "sparse_tensor": "sparse", "sparse_csr_tensor": "sparse", "nested_tensor": "nested",
    "meta_tensor_no_storage": "without numbers (on the meta device)", "wrapper_subclass": "of a class of its own",
    "device_tensor_from_numpy": "a numpy array", "device_tensor_from_cpu_tensor": "on another device",
    "xla_tensor": "on another device",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers of one type as they lie in the file."""

    flat: torch.Tensor


def flat_tensor(data: memoryview, dtype: torch.dtype, count: int) -> torch.Tensor:
    """The first `count` numbers in some bytes (at least as many), which the tensor shares.

    Bytes that do not lie where numbers of their size must are copied.
    """
    if not count:
        return torch.empty(0, dtype=dtype)
    data = data[: count * dtype.itemsize]
    flat = torch.frombuffer(data if not data.readonly else bytearray(data), dtype=dtype)
    return flat if flat.data_ptr() % dtype.itemsize == 0 else torch.frombuffer(bytearray(data), dtype=dtype)


def storage_reader(find: Callable[[str, int], memoryview | None]) -> Callable[[Any], Any]:
    """What reads a pickle's persistent identifiers of storages.

    Args:
        find: the bytes for a key, given how many bytes are claimed; None where there are none.

    """
    known: dict[tuple[str, str], Storage] = {}

    def read(identifier: Any) -> Any:
        if not isinstance(identifier, tuple) or not identifier:
            raise UnsafePickle("its storages are not as PyTorch writes them")
        if identifier[0] == "module" and len(identifier) == 4:  # a class with its source text
            return identifier[1]
        if identifier[0] != "storage" or len(identifier) < 5 or not isinstance(identifier[1], Name):
            raise UnsafePickle("its storages are not as PyTorch writes them")
        _, name, key, _, count, *view = identifier
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 60 or any(view):
            raise UnsafePickle("its storages are not as PyTorch writes them")
        kind = name.text.rpartition(" ")[2].removesuffix("Storage")
        dtype = STORAGES.get(kind)
        if dtype is None or not name.text.startswith("torch"):
            raise UnsafePickle(f"it stores numbers of an unknown kind '{kind[:40]}'")
        if (key, kind) not in known:
            known[key, kind] = Storage(flat_tensor(_bytes(find, key, count * dtype.itemsize), dtype, count))
        found = known[key, kind]
        if len(found.flat) != count:
            raise UnsafePickle("it gives a storage two sizes")
        return found

    return read


def _bytes(find: Callable[[str, int], memoryview | None], key: str, claimed: int) -> memoryview:
    data = find(key, claimed)
    if data is None or len(data) < claimed:
        raise UnsafePickle(f"a tensor claims {claimed:,} bytes, more than the file has for it")
    return data


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    if not isinstance(storage, Storage):
        raise UnsafePickle("a tensor has no storage")
    return _view(storage.flat, offset, size, stride)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> torch.Tensor:
    kind = DTYPES.get(dtype.text) if isinstance(dtype, Name) else None
    if kind is None or not isinstance(storage, Storage) or storage.flat.dtype != torch.uint8:
        raise UnsafePickle("a tensor has no storage, or numbers of an unknown kind")
    count = len(storage.flat) // kind.itemsize
    flat = storage.flat[: count * kind.itemsize]
    flat = flat if flat.data_ptr() % kind.itemsize == 0 else flat.clone()
    return _view(flat.view(kind) if count else torch.empty(0, dtype=kind), offset, size, stride)


def _view(flat: torch.Tensor, offset: Any, size: Any, stride: Any) -> torch.Tensor:
    """Numbers `flat` in a shape, which may not reach beyond them."""
    if (
        not isinstance(size, tuple)
        or not isinstance(stride, tuple)
        or len(size) != len(stride)
        or len(size) > 64
    ):
        raise UnsafePickle(
            "a tensor's shape is not a tuple with a stride each, or has too many dimensions (limit 64)"
        )
    if any(type(n) is not int or not 0 <= n < 1 << 60 for n in (offset, *size, *stride)):
        raise UnsafePickle("a tensor's shape has a negative or too large a number (limit 2^60)")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and (last >= len(flat) or count > max(len(flat), REPEATED)):
        raise UnsafePickle(f"a tensor of shape {size} is larger than its storage")
    if not count:
        if max(size) > max(len(flat), REPEATED):
            raise UnsafePickle("a tensor without numbers has too large a shape")
        return torch.empty(size, dtype=flat.dtype)
    return flat.as_strided(size, stride, offset)


def _parameter(data: Any, *_: Any) -> Any:
    if not isinstance(data, (torch.Tensor, Inert)):
        raise UnsafePickle("a parameter has no tensor")
    return data


def _of_class(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor of a class of its own: the tensor in it, where it is made as tensors are."""
    builder = TENSORS.get(function.text) if isinstance(function, Name) else None
    if builder is None or not isinstance(arguments, tuple) or builder is _of_class:
        return Inert("torch.Tensor", arguments, "of a class of its own")
    return builder(*arguments)


def _lacking(kind: str) -> Callable[..., Inert]:
    return lambda *_: Inert("torch.Tensor", (), kind)


def _size(*parts: Any) -> tuple[Any, ...]:
    if len(parts) != 1 or not isinstance(parts[0], (tuple, list)):
        raise UnsafePickle("a size has no numbers")
    return tuple(parts[0])


#: What PyTorch's checkpoints call, by name.
TENSORS: Builders = {
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _typed_tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch._tensor _rebuild_from_type_v2": _of_class,
    "torch Size": _size,
    **{f"torch._utils _rebuild_{name}": _lacking(kind) for name, kind in LACKING.items()},
}
