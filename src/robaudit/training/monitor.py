"""The monitor for anyone's own training loop: PGD-10 on a few held-out examples, and whether it is masked.

monitor = MaskingMonitor(model, x_val, y_val, eps=8 / 255)
for epoch in range(epochs):
    train_one_epoch(model)
    reading = monitor.check()
    if reading.masked:
        print(reading.reason)
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.errors import RobauditError
from robaudit.plan import ThreatModel
from robaudit.training.inner import frozen
from robaudit.training.metrics import Measured, measure, plan_for
from robaudit.training.watch import Watch

#: PGD-10 on this many examples costs about as much as 12 times as many clean steps of training.
EXAMPLES = 256


@dataclass(frozen=True)
class Check(Measured):
    """What one check measured, and the judgement.

    Attributes:
        masked: whether the gradients mislead PGD, so that its accuracy is not to be trusted.
        reason: the numbers that say so; empty where it is not masked.
        recovered: the first healthy check after masked ones.
        seconds: what the check took.

    """

    masked: bool
    reason: str
    recovered: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data, for a log."""
        return asdict(self)


class MaskingMonitor:
    """Watches a model in training; the model is left as it is found, and so is every random state.

    Args:
        model: from (n, C, H, W) in [0, 1] to logits (n, K); its own normalisation inside.
        x: (N, C, H, W) held-out examples in [0, 1]; the first `examples` of them are used.
        y: (N,) their labels.
        eps: Linf radius in (0, 1], for example 8 / 255.
        examples: how many; more are steadier and cost more.
        seed: of PGD's starts, which are the same in every check, so that checks compare.

    Raises:
        RobauditError: shapes, values or `eps` are not as above.

    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, eps: float, *, examples: int = EXAMPLES, seed: int = 0
    ) -> None:
        if x.dim() != 4 or y.shape != x.shape[:1] or not len(x):
            raise RobauditError(
                f"x: {tuple(x.shape)} and y: {tuple(y.shape)}; give (N, C, H, W) and (N,), N >= 1"
            )
        self._x, self._y = x[:examples].detach().float(), y[:examples].detach()
        if float(self._x.min()) < 0 or float(self._x.max()) > 1:
            raise RobauditError(
                "x: leaves [0, 1]; give images before normalisation, which the model does itself"
            )
        try:
            ThreatModel("Linf", eps)
        except ValueError as error:
            raise RobauditError(str(error)) from error
        self._model, self._plan, self._watch = model, plan_for(eps, seed), Watch()
        self.history: list[Check] = []

    def check(self) -> Check:
        """Measure the model as it is now, in evaluation mode, and judge it by its own past."""
        began = time.perf_counter()
        device = next((p.device for p in self._model.parameters()), self._x.device)
        self._x, self._y = self._x.to(device), self._y.to(device)
        ids = torch.arange(len(self._y), device=device)
        with frozen(self._model):
            measured, _ = measure(self._model, self._x, self._y, ids, self._plan, search=self._model)
        reading = self._watch.observe(measured.fosc_normalised, measured.sgcs)
        took = time.perf_counter() - began
        found = Check(
            **asdict(measured),
            masked=reading.masked,
            reason=reading.reason,
            recovered=reading.recovered,
            seconds=took,
        )
        self.history.append(found)
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a resumed loop needs, JSON-ready."""
        return self._watch.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._watch.load(state)
