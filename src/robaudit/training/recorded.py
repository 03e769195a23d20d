"""The outer passes of a training step, recorded once as a graph of the device's and then replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.devices import free_memory
from robaudit.training.awp import same_buffers
from robaudit.training.losses import Loss

#: The loss of images, their adversarial examples, labels and beta, and both logits.
Outer = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Loss, tuple[Tensor, Tensor]]]
Found = tuple[Loss, tuple[Tensor, Tensor]]
#: Passes before recording, so that nothing is chosen or allocated for the first time while a graph is recorded.
_WARM_UP = 2
#: The replayed gradient may differ from the network's by this share of its length; half precision rounds.
_SAME = 0.05


@dataclass(frozen=True)
class _Recording:
    graph: Any
    inputs: tuple[Tensor, ...]
    found: Found
    gradients: tuple[Tensor | None, ...]


class RecordedDescent:
    """Loss and gradients of one size of batch; a network that cannot be recorded is left to the caller.

    Args:
        network: in training mode; its parameters stay where they are in memory.
        outer: what is recorded.
        kind: of graph, as in `robaudit.fast.graphs.GRAPHS`.

    Attributes:
        given_up: why nothing is replayed; empty while it is.

    """

    def __init__(self, network: nn.Module, outer: Outer, kind: Any) -> None:
        self._network, self._outer, self._kind = network, outer, kind
        self._recording: _Recording | None = None
        self.given_up = ""

    def __call__(self, x: Tensor, adversarial: Tensor, y: Tensor, beta: float) -> Found | None:
        """Set the gradients by the weights, and give the loss and both logits; None where that was not done.

        What is given is overwritten by the next call. A batch of another size than the first is not done.
        """
        inputs = (x, adversarial, y, torch.as_tensor(beta, dtype=torch.float32, device=x.device))
        if self._recording is None and not self.given_up:
            self._try(inputs)
        recording = self._recording
        if recording is None or recording.inputs[0].shape != x.shape:
            return None
        self._replay(recording, inputs)
        for weight, gradient in zip(self._weights(), recording.gradients, strict=True):
            weight.grad = gradient
        return recording.found

    def _weights(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._network.parameters() if parameter.requires_grad]

    @staticmethod
    def _replay(recording: _Recording, inputs: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            for held, given in zip(recording.inputs, inputs, strict=True):
                held.copy_(given)
        recording.graph.replay()

    def _try(self, inputs: tuple[Tensor, ...]) -> None:
        try:
            with same_buffers(self._network):
                recording = self._record(tuple(part.detach().clone() for part in inputs))
            with same_buffers(self._network):
                if self._differs(recording, inputs):
                    self.given_up = "the replayed passes differ from the network's"
                    return
        except Exception as error:  # whatever a network does that cannot be recorded, or has no room twice
            self.given_up = str(error).partition("\n")[0] or type(error).__name__
            free_memory()
        else:
            self._recording = recording

    def _passes(self, inputs: tuple[Tensor, ...]) -> tuple[Found, tuple[Tensor | None, ...]]:
        found = self._outer(*inputs)
        gradients = torch.autograd.grad(found[0].total, self._weights(), allow_unused=True)
        loss, logits = found
        detached = Loss(*(term.detach() for term in (loss.total, loss.clean, loss.robust)))
        return (detached, (logits[0].detach(), logits[1].detach())), gradients

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recording:
        with self._kind.warming_up():
            for _ in range(_WARM_UP):
                self._passes(inputs)
        graph = self._kind(self._kind.new_pool())
        with graph.recording():
            found, gradients = self._passes(inputs)
        return _Recording(graph, inputs, found, gradients)

    def _differs(self, recording: _Recording, inputs: tuple[Tensor, ...]) -> bool:
        with same_buffers(self._network):
            _, expected = self._passes(inputs)
        self._replay(recording, inputs)
        one, other = (
            torch.cat([part.reshape(-1).float() for part in parts if part is not None])
            for parts in (recording.gradients, expected)
        )
        return not bool((one - other).norm() <= _SAME * other.norm())
