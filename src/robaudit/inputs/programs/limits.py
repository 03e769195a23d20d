"""What a program may ask for while it is read: bounded before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from robaudit.errors import RobauditError

#: Numbers in one tensor that a program computes, for one image.
LARGEST = 1 << 28


def bounded(shape: Iterable[int]) -> list[int]:
    """The shape itself, if it is not absurdly large.

    Raises:
        RobauditError: it has more than `LARGEST` numbers.

    """
    sizes = [int(size) for size in shape]
    if math.prod(max(size, 1) for size in sizes) > LARGEST:
        raise RobauditError("asks for an absurdly large tensor; export it again")
    return sizes


class BoundedSizes(TorchDispatchMode):
    """Inside, every operation on tensors is first run on shapes alone and refused where its result is too large."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func` if its result is small enough."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        creates = any(argument.name == "device" for argument in func._schema.arguments)
        if not all(tensor.is_meta for tensor in tensors) or (not tensors and creates):
            options = kwargs | ({"device": torch.device("meta")} if creates else {})
            try:
                shapes = func(*tree_map(_shape_only, args), **tree_map(_shape_only, options))
            except Exception:  # its size depends on numbers: no larger than what it is given
                return func(*args, **kwargs)
            for leaf in tree_leaves(shapes):
                if isinstance(leaf, torch.Tensor):
                    bounded(leaf.shape)
        return func(*args, **kwargs)


def _shape_only(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value
