"""A program run once on the shapes of a batch, with every operation that depends on the images written down.

What does not depend on them (weights, shapes, settings) is computed on the way and enters the graph as a constant.
So whoever reads a format writes plain functions on tensors, and gets a `torch.fx` graph of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg
from torch.fx.proxy import Scope, TracerBase
from torch.utils._pytree import tree_leaves, tree_map

from robaudit.errors import RobauditError
from robaudit.inputs.programs.limits import HELD, WORK, BoundedSizes, held
from robaudit.inputs.programs.sizes import check_size, work_of

#: Operations in one graph.
MOST_NODES = 20_000
#: Images of a batch that a file was written for whose memory counts.
MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Recording:
    """A graph of functions on tensors.

    Attributes:
        graph: from one placeholder, (batch, C, H, W), to one output; each node's `meta["example"]` is a tensor without
            numbers that has the shape and type of its result.
        tensors: the constants, by the names that `get_attr` nodes have.
        batch: images in the batch that it was recorded for.

    """

    graph: fx.Graph
    tensors: dict[str, Tensor]
    batch: int


def record(
    run: Callable[[Any], Any], shape: tuple[int, ...], batch: int, written_for: int = 1, own: int = 0
) -> Recording:
    """Write down what `run` does to images (batch, *shape).

    Args:
        run: from a `Value` to another; it computes with what it is given as if these were tensors.
        shape: (C, H, W) of an image.
        batch: how many images.
        written_for: how many `run` was written for, where its operations hold one number only.
        own: bytes of the tensors that `run` has from its file.

    Raises:
        RobauditError: its answer is not a tensor that depends on the images, or it asks for too much memory or work.
        Exception: whatever `run` meets: shapes that do not fit, numbers that are needed but depend on the images.

    """
    with torch.no_grad(), BoundedSizes(own) as limits:
        recorder = _Recorder(batch, written_for, limits)
        images = recorder.graph.placeholder("x")
        result = run(recorder.value(images, torch.zeros(()).expand(batch, *shape)))
    if not isinstance(result, Value):
        raise RobauditError("gives an answer that does not depend on the images; export it again")
    recorder.graph.output(result.node)
    recorder.graph.eliminate_dead_code()
    if held(recorder.graph) > HELD * min(batch, MOST_AT_ONCE):
        raise RobauditError(
            f"holds too much at once for an image (limit {HELD >> 20:,} MiB); export it again"
        )
    return Recording(recorder.graph, recorder.tensors, batch)


class Value(fx.Proxy):
    """A tensor that depends on the images. It has a shape and a type, but its numbers are not known."""

    tracer: _Recorder

    @property
    def example(self) -> Tensor:
        """A tensor without numbers, of this one's shape and type."""
        return self.node.meta["example"]

    @property
    def batch(self) -> int:
        """Images in the batch that is recorded."""
        return self.tracer.batch

    @property
    def written_for(self) -> int:
        """Images that the program was written for."""
        return self.tracer.written_for

    @property
    def shape(self) -> torch.Size:
        """Its sizes for the batch that is recorded."""
        return self.example.shape

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.example.ndim

    @property
    def dtype(self) -> torch.dtype:
        """Its number type."""
        return self.example.dtype

    @property
    def device(self) -> torch.device:
        """Where constants are made that it meets; they move with the graph later."""
        return torch.device("cpu")

    @property
    def T(self) -> Value:  # noqa: N802  as torch calls it
        """Its transpose."""
        return self.permute(*reversed(range(self.ndim)))  # type: ignore[return-value]

    def dim(self) -> int:
        """How many dimensions it has."""
        return self.ndim

    def size(self, axis: int | None = None) -> Any:
        """Its sizes, or one of them."""
        return self.shape if axis is None else self.shape[axis]

    def numel(self) -> int:
        """How many numbers it has."""
        return self.example.numel()

    def is_floating_point(self) -> bool:
        """Whether its numbers are fractions."""
        return self.example.is_floating_point()

    def overwrite(self) -> None:
        """Mark it, and all that shares its memory, as no longer what it was: using it from now on is an error."""
        self.node.meta["memory"].version += 1

    def __len__(self) -> int:
        return len(self.node.meta["example"])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))  # type: ignore[index]

    def __bool__(self) -> bool:
        raise RobauditError("decides by the numbers of an image what to compute; export it without")


class _Memory:
    """What a tensor and its views share: how often it was overwritten."""

    version = 0


class _Recorder(TracerBase):
    """Turns operations on `Value`s into nodes."""

    def __init__(self, batch: int, written_for: int, limits: BoundedSizes) -> None:
        super().__init__()
        self.batch, self.written_for, self.limits = batch, written_for, limits
        self.work = WORK * batch
        self.graph = fx.Graph()
        self.tensors: dict[str, Tensor] = {}
        self.scope, self.module_stack, self.node_name_to_scope = Scope("", None), OrderedDict(), {}
        self._constants: dict[int, tuple[Tensor, fx.Node]] = {}

    def value(self, node: fx.Node, example: Any, memory: _Memory | None = None) -> Value:
        """The value that a node gives, one tensor or several, of which only shapes and types are kept."""
        memory = memory or _Memory()
        node.meta.update(example=tree_map(_blank, example), memory=memory, version=memory.version)
        return Value(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *_: Any, **__: Any) -> Any:
        """Write an operation down, and find the shape of what it gives."""
        if len(self.graph.nodes) > MOST_NODES:
            raise RobauditError(f"has too many operations (limit {MOST_NODES:,}); export it again")
        nodes = self.create_arg((tuple(args), dict(kwargs)))
        positional, named = map_aggregate(nodes, _example)
        function = getattr(Tensor, target) if kind == "call_method" else target
        shape = check_size(function, positional, named)
        memory = None
        if shape is not None:
            example = positional[0].new_zeros(()).expand(shape)
        else:
            example = self._tried(function, positional, named)
            memory = _shared(example, nodes)
        leaves = tree_leaves(example)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            raise RobauditError(f"needs a number of {target} that depends on the images; export it without")
        self.work -= sum(work_of(function, positional, leaf.shape) for leaf in leaves)
        if self.work < 0:
            raise RobauditError(
                f"computes too much for an image (limit {WORK:.0e} multiply-adds); export it again"
            )
        return self.value(self.graph.create_node(kind, target, *nodes), example, memory)

    def _tried(self, function: Callable[..., Any], positional: Any, named: Any) -> Any:
        self.limits.counting = False
        try:
            return function(*positional, **named)
        finally:
            self.limits.counting = True

    def create_arg(self, a: Any) -> Any:
        """Constants as nodes of their own, each tensor once."""
        if not isinstance(a, Tensor):
            return super().create_arg(a)
        if id(a) not in self._constants:
            name = f"constant_{len(self._constants)}"
            node = self.graph.create_node("get_attr", name)
            self.value(node, a)
            self.limits.keep(a)
            self.tensors[name] = a
            self._constants[id(a)] = (a, node)
        return self._constants[id(a)][1]


def _blank(tensor: Tensor) -> Tensor:
    """A tensor of a shape and type that takes no memory."""
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)


def _example(node: Any) -> Any:
    if not isinstance(node, fx.Node):
        return node
    if node.meta["memory"].version != node.meta["version"]:
        raise RobauditError(
            "uses a tensor again that it has overwritten; export it without in-place operations"
        )
    return node.meta["example"]


def _shared(example: Any, arguments: Any) -> _Memory | None:
    """The memory of an argument that a result is a view of."""
    results = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(example) if isinstance(leaf, Tensor)}
    found: list[_Memory] = []

    def look(node: fx.Node) -> fx.Node:
        own = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(node.meta["example"])}
        if results & own:
            found.append(node.meta["memory"])
        return node

    map_arg(arguments, look)
    return found[0] if found else None
