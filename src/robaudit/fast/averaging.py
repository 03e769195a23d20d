"""A randomised model as one that always answers alike: the mean of its logits over fixed draws.

Expectation over transformation (Athalye et al. 2018, https://arxiv.org/abs/1802.00420, Section 4.2): an attack follows
the mean over several draws of the model's randomness, not one of them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robaudit.devices import random_states, restore_random_states, seed_generators


@contextmanager
def _own_generators(model: nn.Module, seed: int) -> Iterator[None]:
    """The generators that a model keeps for itself (torch's, NumPy's, Python's) set to one state, and put back."""
    kept = [value for module in model.modules() for value in vars(module).values()]
    ours = [value for value in kept if isinstance(value, tuple(_STATES))]
    states = [_STATES[type(value)][0](value) for value in ours]
    for value in ours:
        _STATES[type(value)][1](value, seed)
    try:
        yield
    finally:
        for value, state in zip(ours, states, strict=True):
            _STATES[type(value)][2](value, state)


def _seed_numpy(generator: np.random.Generator, seed: int) -> None:
    kind: Any = type(generator.bit_generator)
    generator.bit_generator.state = kind(seed).state


def _restore_numpy(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


#: By kind of generator: its state, setting it to a seed, and putting a state back.
_STATES: dict[type, tuple[Callable[[Any], Any], Callable[[Any, int], Any], Callable[[Any, Any], Any]]] = {
    torch.Generator: (lambda g: g.get_state(), lambda g, seed: g.manual_seed(seed), lambda g, s: g.set_state(s)),
    np.random.Generator: (lambda g: g.bit_generator.state, _seed_numpy, _restore_numpy),
    np.random.RandomState: (
        lambda g: g.get_state(), lambda g, seed: g.seed(seed % 2**32), lambda g, s: g.set_state(s)
    ),
    random.Random: (lambda g: g.getstate(), lambda g, seed: g.seed(seed), lambda g, s: g.setstate(s)),
}  # fmt: skip


@contextmanager
def generators(seed: int, model: nn.Module | None = None) -> Iterator[None]:
    """The process's generators (Python's, NumPy's, torch's) and a model's own set to one state, then put back."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), random_states()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    seed_generators(seed)
    try:
        with nullcontext() if model is None else _own_generators(model, seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        restore_random_states(tensors)


class Averaged(nn.Module):
    """The mean of a model's logits over `draws` of its randomness, each fixed by the seed and the purpose.

    Every example of a batch meets the same randomness, whatever its place and whoever is beside it, so the answer is a
    function of the example alone. Attacks search with other draws than those that judge (`purpose`): an input that
    fools only the noise it was made with is not a break.
    """

    def __init__(self, model: nn.Module, draws: int, seed: int, purpose: str, *, one_by_one: bool = False):
        """One forward pass a draw; with `one_by_one` a call of the model for every example too, beyond doubt."""
        super().__init__()
        self.model, self.one_by_one = model, one_by_one
        digests = (hashlib.blake2b(f"{seed}:{purpose}:{k}".encode(), digest_size=6) for k in range(draws))
        self.seeds = tuple(int.from_bytes(digest.digest(), "little") for digest in digests)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        parts = x.split(1) if self.one_by_one else (x,)
        return torch.cat(
            [torch.stack([self._draw(part, seed) for seed in self.seeds]).mean(0) for part in parts]
        )

    def _draw(self, x: Tensor, seed: int) -> Tensor:
        with generators(seed, self.model), _AlikeForAll(x.shape[0]):
            logits: Tensor = self.model(x)
        return logits.float()


#: Random operations whose numbers do not depend on what is in the tensors they are given, so one row's serve for all.
_BLIND = frozenset(
    f"aten::{name}"
    for name in (
        *("rand", "randn", "randint", "rand_like", "randn_like", "randint_like"),
        *(
            "uniform_",
            "normal_",
            "random_",
            "exponential_",
            "log_normal_",
            "cauchy_",
            "geometric_",
            "bernoulli_",
        ),
    )
)


class _AlikeForAll(TorchDispatchMode):
    """Gives every row of a batch the random numbers that it would get alone.

    A random operation on tensors or sizes that begin with the batch's is done row by row, each from the same state
    of the generators; for one row, where the others' numbers would be the same.
    """

    def __init__(self, rows: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = rows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, row by row where it is random."""
        kwargs = kwargs or {}
        if self.rows < 2 or torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if not self._concerned(args) and not self._concerned(kwargs.values()):
            return func(*args, **kwargs)
        if self._is_blind(func, args):
            found = self._of_row(func, args, kwargs, 0)
            if not func._schema.is_mutable:
                return found.repeat_interleave(self.rows, 0)
            args[0].copy_(found.expand_as(args[0]))
            return args[0]
        before, own = random_states(), kwargs.get("generator")
        state = None if own is None else own.get_state()
        outs = []
        for row in range(self.rows):
            restore_random_states(before)
            if own is not None:
                own.set_state(state)
            outs.append(self._of_row(func, args, kwargs, row))
        if func._schema.is_mutable:
            return args[0]
        if isinstance(outs[0], Tensor):
            return torch.cat(outs)
        return tuple(torch.cat(parts) for parts in zip(*outs, strict=True))

    def _of_row(self, func: Any, args: Any, kwargs: Any, row: int) -> Any:
        named = {key: self._row(value, row) for key, value in kwargs.items()}
        return func(*(self._row(value, row) for value in args), **named)

    def _is_blind(self, func: Any, args: Any) -> bool:
        """Whether `func` asks only for numbers, and not for probabilities of each row's own."""
        return func._schema.name in _BLIND and not any(isinstance(value, Tensor) for value in args[1:])

    def _concerned(self, values: Any) -> bool:
        return any(self._row(value, 0) is not value for value in values)

    def _row(self, value: Any, row: int) -> Any:
        if isinstance(value, Tensor):
            return value[row : row + 1] if value.dim() and value.shape[0] == self.rows else value
        if isinstance(value, list | tuple | torch.Size) and value and value[0] == self.rows:
            return [1, *value[1:]]
        return value
