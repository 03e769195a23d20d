"""Which of a model's outputs are the logits, and what is read otherwise than it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from robaudit.errors import RobauditError
from robaudit.inputs.programs.recording import Value

_SIGMOIDS = {torch.sigmoid, Tensor.sigmoid, torch.nn.functional.sigmoid, "sigmoid"}
#: What leaves the order of the numbers as it is.
_SHAPING = {"reshape", "view", "flatten", "squeeze", "unsqueeze", "float", torch.flatten, torch.squeeze, torch.reshape}


@dataclass
class Answer:
    """Takes the logits out of what a model answers with.

    Attributes:
        classes: columns that they should have; 0 where it is not known.
        notes: sentences for the report, of the last answer.

    """

    classes: int = 0
    notes: list[str] = field(default_factory=list)

    def logits(self, answer: Any, rows: int) -> Any:
        """The logits (rows, K) with K > 1 of an answer to as many images: a tensor, or several in a tuple or a table.

        Raises:
            RobauditError: there is no tensor that could be them, or more than one.

        """
        self.notes = []
        found = dict(_tensors(answer))
        fitting = {name: value for name, value in found.items() if _columns(value, rows) > 1}
        wanted = {name: value for name, value in fitting.items() if _columns(value, rows) == self.classes}
        if not fitting and len(found) == 1:
            fitting = {name: value for name, value in found.items() if _columns(value, rows) == 1}
        chosen = wanted or fitting
        if len(chosen) != 1:
            shapes = ", ".join(str(tuple(value.shape)) for value in list(found.values())[:8]) or "no tensor"
            expected = f"one of {self.classes} columns" if self.classes and len(found) > 1 else "(images, classes)"
            raise RobauditError(f"gives {shapes} for {rows} images; expected {expected}: let it return only its logits")
        ((name, value),) = chosen.items()
        columns = _columns(value, rows)
        if len(found) > 1:
            self.notes.append(f"answers with {len(found)} outputs; {name[:40]!r} is audited, which alone has {columns} columns")
        value = value if tuple(value.shape) == (rows, columns) else value.reshape(rows, columns)
        return value if columns > 1 else self._two(value)

    def _two(self, value: Any) -> Any:
        """One number z as the logits (0, z) of two classes."""
        before = _before_sigmoid(value)
        self.notes.append("answers with one number; it is audited as the second of two logits, the first being 0")
        if before is not None:
            self.notes[-1] = "answers with the sigmoid of one number; the number is audited, as the second of two logits"
            value = before.reshape(value.shape)
        return torch.cat([value * 0, value], 1)


def _tensors(answer: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(answer, (Tensor, Value)):
        yield name or "0", answer
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from _tensors(value, f"{name}.{key}".strip("."))
    elif isinstance(answer, (tuple, list)):
        names = getattr(answer, "_fields", None) or getattr(answer, "names", None) or range(len(answer))
        for key, value in zip(names, answer, strict=False):
            yield from _tensors(value, f"{name}.{key}".strip("."))


def _columns(value: Any, rows: int) -> int:
    """K of a tensor (rows, K), (rows, K, 1, 1) or, for one image, (K,); 0 for other shapes."""
    sizes = list(value.shape)
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    if not value.is_floating_point() or not sizes or len(sizes) > 2:
        return 0
    if len(sizes) == 1:
        return sizes[0] if rows == 1 else int(sizes[0] == rows)
    return sizes[1] if sizes[0] == rows else 0


def _before_sigmoid(value: Any) -> Any:
    """What a last sigmoid was taken of, if the operations are known and there is one."""
    node = value.node if isinstance(value, Value) else None
    while node is not None and node.op in {"call_function", "call_method"}:
        if node.target in _SIGMOIDS:
            return Value(node.args[0], value.tracer)
        node = node.args[0] if node.target in _SHAPING and isinstance(node.args[0], fx.Node) else None
    return None


class OneAnswer(nn.Module):
    """A module of the user's that answers with more or less than logits, as one that answers with them."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.answer = network, Answer(classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to logits (n, K)."""
        logits: Tensor = self.answer.logits(self.network(x), len(x))
        return logits
