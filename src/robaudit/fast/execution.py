"""How the passes of a frozen model are started: one operation after the other, as a recorded graph, or compiled.

An accelerator computes a small layer faster than Python asks for it. A graph (CUDA's) asks for all layers at once: the
passes are recorded for each size of batch and replayed. `torch.compile` writes fewer and larger operations instead,
and takes minutes before the first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from robaudit.devices import out_of_memory
from robaudit.errors import RobauditError
from robaudit.fast.graphs import GRAPHS, Graph
from robaudit.spelling import unknown

Model = Callable[[Tensor], Tensor]
#: `auto` is what the environment's `ROBAUDIT_EXECUTION` says; without it graphs where the device has them, else eager.
Execution = Literal["auto", "eager", "graphs", "compile"]

#: Passes made before recording, so that nothing is chosen or allocated for the first time while a graph is recorded.
_WARM_UP = 3
#: What is replayed may differ from what the model gives by this share of its largest entry, in each example.
_SAME = 1e-2


def resolve_execution(execution: Execution, device: torch.device) -> Execution:
    """What is meant: `auto` is what the environment says, if it says so; the rest as it is.

    Raises:
        RobauditError: there is no such execution, or the device cannot record graphs.

    """
    if execution == "auto":
        execution = cast("Execution", os.environ.get("ROBAUDIT_EXECUTION", "auto"))
    if execution not in get_args(Execution):
        raise RobauditError(unknown("execution", execution, get_args(Execution)))
    if execution == "graphs" and device.type not in GRAPHS:
        raise RobauditError(f"execution 'graphs': {device.type} cannot record graphs; use eager or compile")
    return execution


def execute(
    model: Model, device: torch.device, execution: Execution = "auto", *, any_size: bool = True
) -> Model:
    """The model, its passes started as `execution` says.

    Args:
        model: from (n, C, H, W) to logits (n, K); its parameters get no gradient, and stay where they are in memory.
        device: where it is.
        execution: see above.
        any_size: whether batches will be of many sizes; otherwise each is recorded as it is.

    Raises:
        RobauditError: there is no such execution, or the device cannot record graphs.

    """
    execution = resolve_execution(execution, device)
    if execution == "compile":
        model = torch.compile(model)
    if execution == "eager" or device.type not in GRAPHS:
        return model
    return Replayed(model, GRAPHS[device.type], any_size=any_size)


@dataclass(frozen=True)
class _Passes:
    """Recorded for one size: `forward` reads `x` and fills `logits`, `backward` reads `slope` and fills `at_x`."""

    x: Tensor
    logits: Tensor
    forward: Graph
    slope: Tensor | None = None
    at_x: Tensor | None = None
    backward: Graph | None = None

    def answer(self, x: Tensor) -> Tensor:
        """The logits at (n, C, H, W), n being the recorded size at most."""
        with torch.no_grad():
            self.x[: len(x)].copy_(x)
            self.forward.replay()
            return self.logits[: len(x)].clone()

    def gradient(self, slope: Tensor) -> Tensor:
        """By the inputs of the last `answer`, from that by its logits."""
        assert self.slope is not None and self.at_x is not None and self.backward is not None
        with torch.no_grad():
            self.slope.zero_()[: len(slope)].copy_(slope)
            self.backward.replay()
            return self.at_x[: len(slope)].clone()


class Replayed:
    """A frozen model whose passes are recorded once for each size of batch and then replayed.

    Batches are filled up to the next of some sizes, so that few sizes are recorded. A model that cannot be
    recorded, or whose replay answers otherwise, is called as it is from then on.

    Args:
        model: as for `execute`.
        kind: of graph, as in `GRAPHS`.
        any_size: whether batches are filled up.

    Attributes:
        recorded: how many sizes are.
        given_up: why the model is called as it is; empty while it is replayed.

    """

    def __init__(self, model: Model, kind: Any, *, any_size: bool = True) -> None:
        self._model, self._kind, self._any_size = model, kind, any_size
        self._pool = kind.new_pool()
        self._passes: dict[tuple[Any, ...], _Passes] = {}
        self._turn = 0
        self.given_up = ""

    @property
    def recorded(self) -> int:
        """How many sizes are."""
        return len(self._passes)

    def __call__(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to logits (n, K), in memory of their own."""
        derive = torch.is_grad_enabled() and x.requires_grad
        size = padded_size(len(x)) if self._any_size else len(x)
        key = (size, *x.shape[1:], x.dtype, derive)
        if not self.given_up and key not in self._passes:
            self._try(key, x)
        if self.given_up:
            return self._model(x)
        self._turn += 1
        passes = self._passes[key]
        logits: Tensor = _Replay.apply(x, passes, self) if derive else passes.answer(x)
        return logits

    def _try(self, key: tuple[Any, ...], x: Tensor) -> None:
        """Record the passes for batches like `x`, and compare them with the model itself."""
        try:
            with torch.inference_mode(False):
                passes = self._record(x.detach().clone(), key[0], derive=key[-1])
                if not self._same(passes, x, derive=key[-1]):
                    self.given_up = "the replayed passes differ from the model's"
        except Exception as error:  # whatever a model does that cannot be recorded
            if out_of_memory(error):
                raise
            self.given_up = str(error).partition("\n")[0] or type(error).__name__
        else:
            self._passes[key] = passes

    def _same(self, passes: _Passes, x: Tensor, *, derive: bool) -> bool:
        x = x.detach().clone().requires_grad_(derive)
        with torch.set_grad_enabled(derive):
            logits = self._model(x)
            slope = torch.ones_like(logits)
            pairs = [(passes.answer(x), logits.detach())]
            if derive:
                (at_x,) = torch.autograd.grad(logits, x, slope)
                pairs.append((passes.gradient(slope), at_x))
        return all(bool(_alike(found, expected)) for found, expected in pairs)

    def _record(self, x: Tensor, size: int, *, derive: bool) -> _Passes:
        room = x.new_zeros(size, *x.shape[1:]).contiguous(memory_format=torch.channels_last)
        room[: len(x)] = x
        with torch.set_grad_enabled(derive):
            with self._kind.warming_up():
                for _ in range(_WARM_UP):
                    leaf = room.detach().requires_grad_(derive)  # anew: autograd ties a leaf to a stream
                    logits = self._model(leaf)
                    slope = torch.zeros_like(logits)
                    if derive:
                        torch.autograd.grad(logits, leaf, slope)
            forward = self._kind(self._pool)
            leaf = room.detach().requires_grad_(derive)
            with forward.recording():
                logits = self._model(leaf)
            if not derive:
                return _Passes(room, logits, forward)
            backward = self._kind(self._pool)
            with backward.recording():
                (at_x,) = torch.autograd.grad(logits, leaf, slope)
        return _Passes(room, logits.detach(), forward, slope, at_x, backward)


def _alike(found: Tensor, expected: Tensor) -> Tensor:
    found, expected = found.flatten(1).float(), expected.flatten(1).float()
    finite = expected.isfinite().all(1)
    largest = expected.abs().amax(1, keepdim=True)
    return (((found - expected).abs() <= _SAME * largest + 1e-12).all(1) | ~finite).all()


def padded_size(n: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24 … that is not below `n`."""
    power = 1 << max(n - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and n <= power * 3 // 4 else power


class _Replay(torch.autograd.Function):
    """`_Passes.answer` and its derivative; between the two nothing else may have been replayed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, passes: _Passes, owner: Replayed) -> Tensor:
        ctx.passes, ctx.owner, ctx.turn = passes, owner, owner._turn
        return passes.answer(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if ctx.turn != ctx.owner._turn:
            raise RuntimeError(
                "another pass of this model was made before the derivative of the last was taken"
            )
        return ctx.passes.gradient(gradients[0]), None, None
