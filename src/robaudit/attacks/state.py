"""Slots: dataclasses of tensors whose first dimension is one example each, taken out and put in by index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from robaudit.attacks.objectives import Model


@dataclass
class Examples:
    """What an attack is given: `x` (n, C, H, W) in [0, 1], labels `y` (n,), `ids` (n,), clean `logits` (n, K)."""

    x: Tensor
    y: Tensor
    ids: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device | str) -> Self:
        """The same examples on another device."""
        return _map(self, lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class Retired:
    """Examples that left an attack.

    Attributes:
        rows: (n,) int64, their places in the `Examples` given.
        outcome: (n,) int64 of `Outcome`.
        steps: (n,) int64, the steps each took, all its runs together.
        forwards, backwards: (n,) int64, the passes that took, steps tried in vain included.
        near_misses: (n, runs) bool, the runs that came close to a break and ended without one.
        closest: (n,), the largest margin that any run met, for attacks whose states keep it; else -inf.
        witness: (n, C, H, W) float32 of broken examples; (0,) of others.
        state: the attack's own state of these slots.

    """

    rows: Tensor
    outcome: Tensor
    steps: Tensor
    forwards: Tensor
    backwards: Tensor
    near_misses: Tensor
    closest: Tensor
    witness: Tensor
    state: Any

    def part(self, rows: Tensor) -> Self:
        """Those at `rows` (m,) int64."""
        tensors = ("rows", "outcome", "steps", "forwards", "backwards", "near_misses", "closest")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in tensors},
            witness=self.witness[rows] if len(self.witness) else self.witness,
            state=take(self.state, rows.to(self.state.candidate.device)),
        )


class State(Protocol):
    """The fields that every attack's state has; each attack adds its own.

    `candidate` is an input inside the ball; where `fooled` the search model misclassifies it; where `near_miss` the
    run came so near to a break that arithmetic in half precision may have hidden one; where `finished` the run's
    budget is used up; `nonfinite` marks rows that met logits that are not finite; `iteration` counts the steps
    done; one call of `step` may do several. APGD's and Square's also have `closest`, the largest margin so far.
    """

    candidate: Tensor
    fooled: Tensor
    near_miss: Tensor
    finished: Tensor
    nonfinite: Tensor
    iteration: Tensor


class Attack(Protocol):
    """A frozen dataclass of settings. A run is one restart or one target of one example."""

    @property
    def name(self) -> str:
        """As in the JSON report."""
        ...

    @property
    def forwards(self) -> int:
        """Forward passes of one step."""
        ...

    @property
    def backwards(self) -> int:
        """Backward passes of one step."""
        ...

    @property
    def tries(self) -> int:
        """How many steps in a row may be tried in one call at most; 1 where each needs the answer to the last."""
        ...

    def runs(self, classes: int) -> int:
        """How many runs an example that is never broken takes."""
        ...

    def start(self, examples: Examples, run: Tensor) -> Any:
        """The state before the first step; `run` (n,) says which run each example is to begin."""
        ...

    def step(self, model: Model, state: Any, tries: int = 1) -> Any:
        """The state after one step, or after up to `tries` that were tried at once.

        The given state is left as it was, so that a failed step can be repeated.
        """
        ...


S = TypeVar("S")


def _map(state: S, function: Callable[[Tensor], Tensor]) -> S:
    fields = dataclasses.fields(state)  # type: ignore[arg-type]
    return type(state)(**{item.name: function(getattr(state, item.name)) for item in fields})


def take(state: S, rows: Tensor) -> S:
    """The slots `rows`, copied."""
    return _map(state, lambda tensor: tensor[rows])


def put(state: S, rows: Tensor, new: S) -> None:
    """Overwrite the slots `rows` with `new`, in place."""
    for item in dataclasses.fields(state):  # type: ignore[arg-type]
        getattr(state, item.name)[rows] = getattr(new, item.name)


def join(states: list[S]) -> S:
    """The slots of several states, one after the other."""
    first = states[0]
    names = [item.name for item in dataclasses.fields(first)]  # type: ignore[arg-type]
    return type(first)(**{name: torch.cat([getattr(s, name) for s in states]) for name in names})
