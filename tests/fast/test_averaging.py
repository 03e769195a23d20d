"""A randomised model's mean: the same for an example wherever it stands, near its closed form, differentiable."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robaudit.fast import Averaged
from robaudit.fast.averaging import _AlikeForAll, generators
from tests.models import Wrapped


class _Dropping(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3, training=True).flatten(1)


class _Own(nn.Module):
    """Random by generators that it keeps for itself."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.torch, self.numpy = kind, torch.Generator(), np.random.default_rng(0)
        self.old, self.python = np.random.RandomState(0), random.Random(0)

    def forward(self, x):
        if self.kind == "bernoulli":
            return torch.bernoulli(x, generator=self.torch).flatten(1)
        draws = {
            "torch": lambda: torch.randn(x.shape, generator=self.torch),
            "numpy": lambda: float(self.numpy.normal()),
            "old numpy": lambda: float(self.old.normal()),
            "python": self.python.random,
        }
        return (x + draws[self.kind]()).flatten(1)


RANDOM = {
    **{f"own {kind}": _Own(kind) for kind in ("torch", "bernoulli", "numpy", "old numpy", "python")},
    "like": Wrapped(lambda x: (x + torch.randn_like(x)).flatten(1)),
    "sized": Wrapped(lambda x: (x + torch.rand(x.shape[0], 1, 1, 1)).flatten(1)),
    "dropout": _Dropping(),
    "bernoulli": Wrapped(lambda x: torch.bernoulli(x).flatten(1)),
    "normal": Wrapped(lambda x: torch.normal(x, 0.1).flatten(1)),
    "in place": Wrapped(lambda x: (x + torch.empty_like(x).uniform_()).flatten(1)),
    "one for all": Wrapped(lambda x: (x * torch.randint(1, 9, ())).flatten(1)),
    "python": Wrapped(lambda x: x.flatten(1) * random.random()),
    "numpy": Wrapped(lambda x: x.flatten(1) + float(np.random.normal())),
    "choice": Wrapped(lambda x: torch.multinomial(x.flatten(1) + 0.1, 4).float()),
}


@pytest.mark.parametrize("name", RANDOM)
def test_an_example_is_answered_alike_wherever_it_stands(name):
    x = torch.rand(7, 1, 3, 5, generator=torch.Generator().manual_seed(0))
    model = Averaged(RANDOM[name], 5, 0, "judge")
    whole = model(x)
    assert torch.equal(whole, model(x))
    alone = torch.cat([model(x[k : k + 1]) for k in range(7)])
    assert torch.equal(alone, Averaged(RANDOM[name], 5, 0, "judge", one_by_one=True)(x))
    assert torch.allclose(whole, alone, atol=1e-6)
    assert torch.allclose(whole.flip(0), model(x.flip(0)), atol=1e-6)
    assert not torch.equal(whole, Averaged(RANDOM[name], 5, 0, "search")(x))
    assert not torch.equal(whole, Averaged(RANDOM[name], 5, 1, "judge")(x))


def test_the_draws_differ_and_their_mean_is_the_expectation():
    x = torch.full((3, 1, 4, 4), 0.5)
    found = Averaged(RANDOM["like"], 400, 0, "judge")(x)
    assert (found - 0.5).abs().max() < 5 / 400**0.5
    assert found.std() > 0.01


def test_the_gradient_is_that_of_the_mean():
    x = torch.rand(4, 1, 2, 2, requires_grad=True)
    model = Averaged(RANDOM["one for all"], 50, 0, "search")
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    factor = model(torch.ones(1, 1, 2, 2))[0, 0]
    assert torch.allclose(gradient, factor.expand_as(gradient))


def test_the_process_generators_are_left_alone():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for model in RANDOM.values():
        Averaged(model, 2, 0, "judge")(torch.rand(3, 1, 3, 5, generator=torch.Generator()))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_a_models_own_generators_are_put_back():
    model = _Own("torch")
    before = model.torch.get_state()
    Averaged(model, 3, 0, "judge")(torch.rand(2, 1, 3, 5))
    assert torch.equal(before, model.torch.get_state())


@pytest.mark.parametrize("name", ["like", "sized", "in place", "dropout"])
def test_random_numbers_are_drawn_once_for_the_whole_batch(name, monkeypatch):
    """Drawing them again for every row made a pass with noise cost many times one without."""
    calls = []
    of_row = _AlikeForAll._of_row
    monkeypatch.setattr(_AlikeForAll, "_of_row", lambda *args: calls.append(args[1]) or of_row(*args))
    Averaged(RANDOM[name], 3, 0, "judge")(torch.rand(64, 1, 3, 5))
    assert len(calls) == 3


def test_a_draw_leaves_no_word_for_accelerators_that_are_not_in_use(monkeypatch):
    """As `torch.manual_seed` does at every call, which takes longer than a small model."""
    if torch.cuda.is_available():
        pytest.skip("an accelerator may be in use")
    left = []
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "manual_seed_all", left.append)
        with generators(7):
            found = torch.rand(3)
    assert not left
    torch.manual_seed(7)
    assert torch.equal(found, torch.rand(3))
