"""One graph for batches of any size, from two recordings at different sizes.

Numbers that are the same in both are settings. One that is a multiple of the batch's size in both becomes that
multiple of the size that the graph meets.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from robaudit.inputs.programs.recording import Recording, record

#: Sizes of the batches recorded: primes, so that hardly a layer's size is a multiple of one.
SIZES = (5, 7)
_RESHAPES = {"view", "reshape", torch.reshape}


class OneSizeOnlyError(Exception):
    """Two recordings differ by more than the size of the batch."""


def record_any_batch(
    run: Callable[[Any], Any], shape: tuple[int, ...], written_for: int = 1, own: int = 0
) -> Recording:
    """Write down what `run` does to batches of images (N, *shape) of any size; `batch` is 0. Arguments as `record`.

    Raises:
        OneSizeOnlyError: the operations depend on the size.
        Exception: as `record`.

    """
    return _Merger(*(record(run, shape, size, written_for, own) for size in SIZES)).merged()


class _Merger:
    def __init__(self, first: Recording, second: Recording) -> None:
        self.first, self.second = first, second
        self.graph = fx.Graph()
        self.tensors: dict[str, Tensor] = {}
        self.twins: dict[fx.Node, fx.Node] = {}
        self.pairs = dict(zip(first.graph.nodes, second.graph.nodes, strict=False))

    def merged(self) -> Recording:
        if len(self.first.graph.nodes) != len(self.second.graph.nodes):
            raise OneSizeOnlyError
        for one, other in self.pairs.items():
            if (one.op, one.target) != (other.op, other.target):
                raise OneSizeOnlyError
            if one.op == "placeholder":
                new = self.graph.placeholder("x")
                self.size = self.graph.call_method("size", (new, 0))
            elif one.op == "get_attr":
                new = self._constant(str(one.target))
            else:
                args = self._common(one.args, other.args)
                if one.target in _RESHAPES:
                    args = self._reshaped(args)
                new = self.graph.create_node(one.op, one.target, args, self._common(one.kwargs, other.kwargs))
            new.meta = dict(one.meta)
            self.twins[one] = new
        self.graph.eliminate_dead_code()
        return Recording(self.graph, self.tensors, 0)

    def _common(self, one: Any, other: Any) -> Any:
        """An argument that serves for every size."""
        if isinstance(one, fx.Node):
            if self.pairs[one] is not other:
                raise OneSizeOnlyError
            return self.twins[one]
        if type(one) is not type(other):
            raise OneSizeOnlyError
        if isinstance(one, (tuple, list)):
            if len(one) != len(other):
                raise OneSizeOnlyError
            return type(one)(self._common(a, b) for a, b in zip(one, other, strict=True))
        if isinstance(one, dict):
            if one.keys() != other.keys():
                raise OneSizeOnlyError
            return {key: self._common(value, other[key]) for key, value in one.items()}
        if isinstance(one, slice):
            return slice(
                *(self._common(getattr(one, n), getattr(other, n)) for n in ("start", "stop", "step"))
            )
        if one == other:
            return one
        if type(one) is int:
            return self._multiple(one, other)
        raise OneSizeOnlyError

    def _multiple(self, one: int, other: int) -> fx.Node:
        times, rest = divmod(one, self.first.batch)
        if rest or times * self.second.batch != other:
            raise OneSizeOnlyError
        return self.size if times == 1 else self.graph.call_function(operator.mul, (self.size, times))

    def _reshaped(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a reshaping with -1 for the one size that depends on the batch."""
        image, *sizes = args
        shape = list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else list(sizes)
        if -1 not in shape and sum(isinstance(size, fx.Node) for size in shape) == 1:
            shape = [-1 if isinstance(size, fx.Node) else size for size in shape]
        return image, shape

    def _constant(self, name: str) -> fx.Node:
        """A constant; one row that is repeated where it has a row an image."""
        one, other = self.first.tensors[name], self.second.tensors[name]
        if one is other or (
            one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
        ):
            self.tensors[name] = one
            return self.graph.get_attr(name)
        axes = [i for i, sizes in enumerate(zip(one.shape, other.shape, strict=False)) if len(set(sizes)) > 1]
        if one.ndim != other.ndim or len(axes) != 1 or (one.shape[axes[0]], other.shape[axes[0]]) != SIZES:
            raise OneSizeOnlyError
        row = one.narrow(axes[0], 0, 1)
        if not torch.equal(row.expand_as(one), one) or not torch.equal(row.expand_as(other), other):
            raise OneSizeOnlyError
        self.tensors[name] = row.contiguous()
        sizes = [-1] * one.ndim
        sizes[axes[0]] = self.size  # type: ignore[call-overload]
        return self.graph.call_method("expand", (self.graph.get_attr(name), sizes))
