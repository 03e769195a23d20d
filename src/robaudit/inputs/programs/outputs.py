"""Which of a model's outputs are the logits, and what is read otherwise than it is written."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from robaudit.errors import RobauditError
from robaudit.inputs.programs.recording import Value

_SIGMOIDS = {torch.sigmoid, Tensor.sigmoid, torch.nn.functional.sigmoid, "sigmoid"}
#: What leaves the order of the numbers as it is, or, behind a sigmoid, on which side of a half each lies.
_SHAPING = {
    *("reshape", "view", "flatten", "squeeze", "unsqueeze", "float", "to", "type", "contiguous"),
    *(torch.flatten, torch.squeeze, torch.reshape, nn.Flatten),
}
_ABOVE_A_HALF = {operator.gt, operator.ge, torch.gt, torch.ge, "gt", "ge"}
_ROUNDING = {torch.round, "round"}


class NoLogitsError(RobauditError):
    """A model's answer holds nothing that could be the logits, or a choice of it."""


@dataclass
class Answer:
    """Takes the logits out of what a model answers with.

    Attributes:
        classes: columns that they should have; 0 where it is not known.
        path: the keys and places that led to them in the last answer.
        notes: sentences for the report, of the last answer.

    """

    classes: int = 0
    path: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()

    def logits(self, answer: Any, rows: int) -> Any:
        """The logits (rows, K) with K > 1 of an answer to as many images: a tensor, or several in a tuple or a table.

        Raises:
            NoLogitsError: there is no tensor that could be them, or more than one.

        """
        found = list(_tensors(answer))
        fitting = [item for item in found if _columns(item[2], rows) > 1]
        chosen = [item for item in fitting if _columns(item[2], rows) == self.classes] or fitting
        if not fitting and len(found) == 1 and _columns(found[0][2], rows) == 1:
            chosen = found
        if len(found) == 1 and not found[0][2].is_floating_point():
            kind = str(found[0][2].dtype).removeprefix("torch.")
            raise NoLogitsError(f"gives numbers of type {kind}; let it return its logits as floats")
        if len(chosen) != 1:
            shapes = ", ".join(str(tuple(item[2].shape)) for item in found[:8]) or type(answer).__name__
            wanted = (
                f"one of {self.classes} columns" if self.classes and len(found) > 1 else "(images, classes)"
            )
            raise NoLogitsError(
                f"gives {shapes} for {rows} images; expected {wanted}: let it return only its logits"
            )
        ((name, self.path, value),) = chosen
        columns = _columns(value, rows)
        self.notes = ()
        if len(found) > 1:
            which = f"output {name[:40]!r} is audited, the only one of {columns} columns"
            self.notes = (f"of {len(found)} outputs, {which}",)
        value = value if tuple(value.shape) == (rows, columns) else value.reshape(rows, columns)
        if columns > 1:
            return value
        before = _before_sigmoid(value)
        self.notes += (ONE_OUTPUT if before is None else _SIGMOID,)
        return two_logits(value if before is None else before.reshape(value.shape))


ONE_OUTPUT = "its one output z is audited as the logits (0, z) of two classes"
_SIGMOID = "its one output is a sigmoid, audited before it: of z as the logits (0, z) of two classes"


def two_logits(value: Any) -> Any:
    """One output z (n, 1) as the logits (0, z) of two classes."""
    return torch.cat([value * 0, value], 1)


def _tensors(
    answer: Any, name: str = "", path: tuple[Any, ...] = ()
) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """The tensors in an answer: name, path and value."""
    if isinstance(answer, (Tensor, Value)):
        yield name or "0", path, answer
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from _tensors(value, f"{name}.{key}".strip("."), (*path, key))
    elif isinstance(answer, (tuple, list)):
        names = getattr(answer, "_fields", None) or getattr(answer, "names", None) or range(len(answer))
        for place, (key, value) in enumerate(zip(names, answer, strict=False)):
            yield from _tensors(value, f"{name}.{key}".strip("."), (*path, place))


def _columns(value: Any, rows: int) -> int:
    """K of a tensor (rows, K), with more dimensions of size 1 or not; 0 for other shapes."""
    sizes = list(value.shape)
    if not value.is_floating_point() or not sizes:
        return 0
    inner = sizes if rows == 1 else sizes[1:]
    if sizes[0] not in ((rows,) if rows > 1 else sizes) or sum(size > 1 for size in inner) > 1:
        return 0
    return math.prod(inner)


def _before_sigmoid(value: Any) -> Any:
    """What a last sigmoid was taken of, if the operations are known and there is one."""
    node = value.node if isinstance(value, Value) else None
    while node is not None and node.op in {"call_function", "call_method"}:
        if node.target in _SIGMOIDS:
            return Value(node.args[0], value.tracer)  # type: ignore[arg-type]
        node = _behind(node, node.target, value.tracer.tensors)
    return None


def _behind(node: fx.Node, kind: Any, constants: Mapping[str, Tensor]) -> fx.Node | None:
    """What a node is made of, where it tells of a sigmoid whether that is above a half."""
    beside = [
        constants.get(str(arg.target), arg) if isinstance(arg, fx.Node) else arg for arg in node.args[1:]
    ]
    numbers = [
        float(arg)
        for arg in beside
        if isinstance(arg, float) or (isinstance(arg, Tensor) and arg.numel() == 1)
    ]
    threshold = kind in _ABOVE_A_HALF and len(beside) == 1 and numbers == [0.5]
    rounded = kind in _ROUNDING and len(node.args) == 1 and not node.kwargs.get("decimals")
    if (threshold or rounded or kind in _SHAPING) and node.args and isinstance(node.args[0], fx.Node):
        return node.args[0]
    return None


class OneAnswer(nn.Module):
    """A module that answers with something else than logits, as one that answers with them, as `answer` found them."""

    def __init__(self, network: nn.Module, answer: Answer) -> None:
        super().__init__()
        self.path, self.one = answer.path, ONE_OUTPUT in answer.notes
        bare = _without_sigmoid(network) if self.one else None
        self.network = network if bare is None else bare
        self.notes = tuple(
            _SIGMOID if bare is not None and note == ONE_OUTPUT else note for note in answer.notes
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to logits (n, K)."""
        answer = self.network(x)
        for key in self.path:
            answer = answer[key]
        logits: Tensor = answer.reshape(x.shape[0], -1).float()
        return two_logits(logits) if self.one else logits


def _without_sigmoid(network: nn.Module) -> nn.Module | None:
    """A network without its last sigmoid; None where its operations are not known or there is none."""
    try:
        graph = fx.symbolic_trace(network)
    except Exception:
        return None
    (node,) = (node.args[0] for node in graph.graph.nodes if node.op == "output")
    while isinstance(node, fx.Node):
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Sigmoid) or node.target in _SIGMOIDS:
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
            graph.graph.erase_node(node)
            graph.recompile()
            return graph
        kind = node.target if module is None else type(module)
        node = _behind(node, kind, dict(graph.named_buffers()) | dict(graph.named_parameters()))
    return None
