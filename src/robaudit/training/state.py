"""The network in training: its weights and momentum, and the steps of an epoch under some treatment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.ranks import Ranks
from robaudit.training.data import TrainData
from robaudit.training.network import Shape, new_network
from robaudit.training.schedules import learning_rate
from robaudit.training.settings import TrainSettings
from robaudit.training.sgd import SGD
from robaudit.training.stepping import Stepper, StepResult, StepSpec
from robaudit.training.synchronising import with_whole_batch_norm
from robaudit.training.tally import Tally
from robaudit.training.treatments import Treatment

#: Images of the passes that are timed.
_TIMED = 64


class TrainingState:
    """One network in training.

    Attributes:
        steps: of an epoch.
        tally: of the epoch under way.
        slower: what the schedule's rates are multiplied by.
        treated, treatment: batches of the epoch under way that were treated, and how the last of them was.

    """

    def __init__(self, settings: TrainSettings, shape: Shape, data: TrainData, ranks: Ranks) -> None:
        self._settings, self._data, self._ranks = settings, data, ranks
        self.steps = len(data) // settings.batch_size
        if not self.steps:
            raise RobauditError(
                f"batch-size {settings.batch_size}: only {len(data)} examples to train on; pass a smaller one"
            )
        self.network = new_network(settings, shape)
        with_whole_batch_norm(self.network, ranks)
        self._optimiser = SGD(self.network, settings.momentum, settings.weight_decay)
        self._stepper = Stepper(self.network, self._optimiser, settings, ranks)
        self.tally, self.treated, self.treatment = Tally(), 0, ""
        self.slower = 1.0

    def order(self, epoch: int) -> Tensor:
        """The order of the examples in an epoch, from 0."""
        return self._data.order(epoch)

    def rate(self, epoch: int, step: int = 0) -> float:
        """The learning rate of a step, both from 0."""
        return self.slower * learning_rate(self._settings, epoch, step, self.steps)

    def step(self, order: Tensor, epoch: int, step: int, treatment: Treatment) -> StepResult:
        """Make one step; where the loss is not finite, the weights and the sums are left as they were."""
        s = self._settings
        rows = order[step * s.batch_size : (step + 1) * s.batch_size]
        batch = self._data.batch(self._ranks.share(rows), epoch)
        number = epoch * self.steps + step
        norms = bool(s.batch_metrics) and number % s.batch_metrics == 0
        result = self._stepper.step(
            batch,
            StepSpec(
                number=number,
                total=len(rows),
                lr=self.rate(epoch, step) * treatment.rate,
                beta=s.beta * treatment.beta,
                inner=treatment.inner or s.method,
                noise=treatment.noise,
                norms=norms,
                far=treatment.far,
            ),
        )
        if result.finite:
            self.tally.add(result)
            if norms:
                self.tally.add_batch(result, number, epoch + 1)
            if treatment.changes:
                self.treated, self.treatment = self.treated + 1, treatment.name
        return result

    def next_epoch(self) -> None:
        """Count anew."""
        self.tally.next_epoch()
        self.treated, self.treatment = 0, ""

    def passes(self) -> None:
        """What an inner attack's step costs, on a few images; nothing is changed by it."""
        rows = torch.arange(min(_TIMED, self._settings.batch_size, len(self._data)))
        self._stepper.passes(self._data.batch(rows, 0).x)

    def taken(self) -> dict[str, Any]:
        """A copy of the weights and of the optimiser."""
        network = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        return {"network": network, "optimiser": self._optimiser.state()}

    def state(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        counted = {"treated": self.treated, "treatment": self.treatment, "slower": self.slower}
        return {**self.taken(), **self.tally.state(), **counted}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self.put(state)
        self.tally.load(state)
        self.treated, self.treatment, self.slower = state["treated"], state["treatment"], state["slower"]

    def put(self, taken: dict[str, Any]) -> None:
        """What `taken` gave."""
        self.network.load_state_dict(taken["network"])
        self._optimiser.load(taken["optimiser"])
