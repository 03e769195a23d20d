"""The inner maximisation against a plain transcription; nothing of the network changes meanwhile."""

import pytest
import torch
import torch.nn.functional as F

from robaudit.training.inner import Ascent, attack, frozen, starting_point
from robaudit.training.settings import Inner
from tests.models import cnn


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 1, 8, 8, generator=generator)
    return x, torch.randint(10, (6,), generator=generator), torch.arange(6)


def plain(model, x, y, start, inner, method):
    """The published loop in float64: the clean probabilities anew in every step."""
    x_adv = start.double()
    x = x.double()
    for _ in range(inner.steps):
        x_adv = x_adv.detach().requires_grad_()
        if method == "trades":
            p = model(x).softmax(1).detach()
            loss = (p * (p.log() - model(x_adv).log_softmax(1))).sum()
        else:
            loss = F.cross_entropy(model(x_adv), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + inner.step_size * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - inner.eps), x + inner.eps).clamp(0, 1)
    return x_adv.detach()


@pytest.mark.parametrize("method", ["trades", "trades-ce", "pgd-at", "mart"])
def test_the_result_is_the_published_loops(batch, method):
    x, y, ids = batch
    inner = Inner(0.1, 0.03, 5)
    model = cnn()
    found = attack(model, x, y, ids, 7, 0, Ascent(inner, method))
    start = starting_point(x, ids, 7, 0, inner.eps, near=method == "trades")
    expected = plain(cnn().double(), x, y, start, inner, method)
    # A gradient within rounding of 0 may take the other sign, by which CPUs differ; next to the clean input TRADES'
    # are small, and every step adds to what the steps before changed.
    first = attack(model, x, y, ids, 7, 0, Ascent(Inner(0.1, 0.03, 1), method)).x
    assert (
        (first - plain(cnn().double(), x, y, start, Inner(0.1, 0.03, 1), method)).abs() < 1e-5
    ).float().mean() > 0.99
    assert ((found.x - expected).abs() < 1e-5).float().mean() > 0.95
    reached, wanted = (float(F.cross_entropy(model(z.float()), y)) for z in (found.x, expected))
    assert reached == pytest.approx(wanted, rel=1e-3)
    assert float((found.x - x).abs().max()) <= 0.1 + 1e-6
    assert 0 <= float(found.x.min()) <= float(found.x.max()) <= 1
    assert torch.equal(found.clean, model(x))


def test_starts_depend_on_the_example_and_the_step_alone(batch):
    x, _, ids = batch
    for near in (True, False):
        whole = starting_point(x, ids, 3, 0, 0.1, near)
        assert torch.equal(starting_point(x[2:4], ids[2:4], 3, 0, 0.1, near), whole[2:4])
        assert not torch.equal(starting_point(x, ids, 4, 0, 0.1, near), whole)


def test_a_network_comes_out_of_the_attack_as_it_went_in():
    model = cnn().requires_grad_(True).train()
    model[1].eval()
    model[3].weight.requires_grad_(False)
    with pytest.raises(KeyError), frozen(model):
        assert not any(p.requires_grad for p in model.parameters())
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert model.training
    assert not model[1].training
    assert [p.requires_grad for p in model.parameters()] == [True] * 4 + [False] + [True] * 3


def test_a_saturated_network_shows_in_the_trajectory(batch):
    """A thousandfold logit scale makes the divergence's gradient vanish: nothing agrees with anything."""
    x, y, ids = batch
    model = cnn()
    honest = attack(model, x, y, ids, 0, 0, Ascent(Inner(0.1, 0.025), "trades"))
    masked = attack(lambda z: model(z) * 1e5, x, y, ids, 0, 0, Ascent(Inner(0.1, 0.025), "trades"))
    assert float(honest.sgcs.mean()) > 0.6
    assert float(masked.sgcs.mean()) < float(honest.sgcs.mean()) - 0.2
