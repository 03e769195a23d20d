"""The functions that TorchScript's code may call: torch's operators, and what the language itself has."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.inputs.programs import aten
from robaudit.inputs.programs.aten.shapes import is_tensor, item
from robaudit.inputs.programs.recording import Value
from robaudit.inputs.programs.sizes import LONGEST
from robaudit.inputs.programs.torchscript.objects import UnreadError

_KINDS: dict[str, Callable[[Any], bool]] = {
    "Tensor": is_tensor, "int": lambda value: type(value) is int, "float": lambda value: type(value) is float,
    "bool": lambda value: type(value) is bool, "str": lambda value: type(value) is str,
    "list": lambda value: type(value) is list, "List": lambda value: type(value) is list,
    "Dict": lambda value: type(value) is dict,
}  # fmt: skip


def is_a(value: Any, kind: ast.expr) -> bool:
    """Whether a value is of a type that the code names; of a list what is in it too."""
    outer, inner = (kind.value, kind.slice) if isinstance(kind, ast.Subscript) else (kind, None)
    if not isinstance(outer, ast.Name) or outer.id not in _KINDS:
        raise UnreadError("a question about a type")
    if not _KINDS[outer.id](value):
        return False
    return inner is None or outer.id != "List" or all(is_a(part, inner) for part in value)


def _raise(message: Any = "", *_: Any) -> None:
    raise UnreadError(f"an error of its own ({str(message)[:80]!r})")


def _format(text: str, *values: Any) -> str:
    """Only for messages, which nobody reads."""
    return text


def _text(value: Any) -> str:
    if not isinstance(value, (str, int, float, type(None))):
        raise UnreadError("a text of what is not a number")
    return str(value)


def _set_item(items: Any, key: Any, value: Any) -> None:
    if not isinstance(items, (list, dict)) or not isinstance(key, (str, int)):
        raise UnreadError("an assignment to a place")
    items[key] = value  # type: ignore[index]


def _as_tensor(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, (bool, int, float)) else value


def _range(*limits: Any) -> range:
    return range(*(int(item(limit)) for limit in limits))


def _append(items: list[Any], value: Any) -> list[Any]:
    _extend(items, [value])
    return items


def _extend(items: list[Any], values: Any) -> None:
    if len(items) + len(values) > LONGEST:
        raise RobauditError(f"makes a list that is too long (limit {LONGEST:,}); export it again")
    items.extend(values)


def _listed(values: Any) -> list[Any]:
    items: list[Any] = []
    _extend(items, values)
    return items


def _plain(kind: type) -> Callable[[Any], Any]:
    return lambda value: kind(item(value))


def _unwrapped(value: Any) -> Any:
    if value is None:
        raise UnreadError("a value that is missing")
    return value


def _contains(items: Any, value: Any) -> bool:
    if isinstance(value, (Tensor, Value)):
        raise RobauditError("looks for a tensor in a list; export it without")
    if any(isinstance(part, (list, tuple, dict)) for part in items):
        raise RobauditError("looks for something in a list of lists; export it without")
    return value in items


_LANGUAGE: dict[str, Callable[..., Any]] = {
    "int": _plain(int), "float": _plain(float), "bool": _plain(bool), "range": _range, "print": _format,
    "torch.Int": _plain(int), "torch.IntImplicit": _plain(int), "torch.Float": _plain(float),
    "torch.FloatImplicit": _plain(float), "torch.Bool": _plain(bool), "torch.ScalarImplicit": item,
    "torch.__is__": operator.is_, "torch.__isnot__": operator.is_not, "torch.__not__": operator.not_,
    "torch.__contains__": _contains, "torch.__getitem__": operator.getitem, "torch.append": _append,
    "torch.extend": _extend, "torch.list": _listed, "torch.format": _format, "torch.warn": lambda *_, **__: None,
    "torch.__range_length": lambda low, high, step: len(range(low, high, step)),
    "torch.__derive_index": lambda place, start, step: start + place * step,
    "torch.keys": list, "torch.values": lambda table: list(table.values()),
    "torch.is_floating_point": lambda value: value.is_floating_point(), "warnings.warn": lambda *_, **__: None,
    "ops.prim.RaiseException": _raise, "ops.prim.NumToTensor": _as_tensor, "ops.prim.data": lambda value: value,
    "ops.prim.dtype": lambda value: value.dtype, "ops.prim.device": lambda value: None,
    "ops.prim.type": lambda device: "cpu", "ops.prim.layout": lambda value: None,
    "ops.prim.is_cuda": lambda value: False,
    "ops.prim.requires_grad": lambda value: False, "ops.prim.is_quantized": lambda value: False,
    "ops.prim.is_nested": lambda value: False, "torch.is_autocast_enabled": lambda *_: False,
    "ops.prim.unchecked_unwrap_optional": _unwrapped, "ops.prim.unchecked_cast": lambda value: value,
    "ops.prim.min": min, "ops.prim.max": max, "torch.is_grad_enabled": lambda: False, "str": _text,
    "torch._set_item": _set_item, "torch.device": lambda *_: None, "torch._unwrap_optional": _unwrapped,
    "unwrap_optional": _unwrapped,
    "ops.prim.shape": lambda value: list(value.shape),
}  # fmt: skip

OPERATORS: dict[str, Callable[..., Any]] = (
    {f"torch.{name}": function for name, function in aten.OPERATORS.items()}
    | {f"ops.aten.{name}": function for name, function in aten.OPERATORS.items()}
    | _LANGUAGE
)
