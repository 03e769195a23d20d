"""FOSC and SGCS against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.attacks import PGD, Examples
from robaudit.attacks.objectives import cross_entropy, evaluate
from robaudit.engine import Engine
from robaudit.measures import fosc, sgcs
from robaudit.plan import ThreatModel
from tests.models import Wrapped, cnn, two_class_linear

CPU = torch.device("cpu")


def run_pgd(model, x, norm="Linf", eps=0.05, steps=10, labels=None):
    with torch.no_grad():
        logits = model(x)
    y = logits.argmax(1) if labels is None else labels
    states = []
    engine = Engine(model, model, ThreatModel(norm, eps), len(x), CPU)
    engine.run(PGD(norm, eps, eps / 4, steps), Examples(x, y, torch.arange(len(x)), logits), states.append)
    order = torch.cat([s.rows for s in states]).argsort()
    return {k: torch.cat([vars(s.state)[k] for s in states])[order] for k in vars(states[0].state)}


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_fosc_is_the_maximum_that_equation_2_asks_for(norm):
    draw = torch.Generator().manual_seed(0)
    x, x_k = torch.rand(5, 1, 2, 2, generator=draw), torch.rand(5, 1, 2, 2, generator=draw)
    g, eps = torch.randn(5, 1, 2, 2, generator=draw), 0.7
    x_k = x + (x_k - 0.5) * 0.5
    deltas = torch.randn(200_000, 4, generator=draw)
    if norm == "L1":  # the ball's corners
        deltas = eps * torch.cat([torch.eye(4), -torch.eye(4)])
    else:
        deltas = eps * (deltas.sign() if norm == "Linf" else deltas / deltas.norm(dim=1, keepdim=True))
    found = fosc(g, x_k, x, norm, eps)
    for k in range(5):
        best = float(((x[k] - x_k[k]).flatten() + deltas).matmul(g[k].flatten()).max())
        assert float(found.raw[k]) == pytest.approx(best, rel=2e-3)
        dual = float({"Linf": g[k].abs().sum(), "L2": g[k].norm(), "L1": g[k].abs().max()}[norm])
        assert float(found.normalised[k]) == pytest.approx(best / (eps * dual), rel=2e-3)


def test_a_linear_model_is_converged_and_aligned():
    model = two_class_linear()
    x = torch.rand(50, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    s = run_pgd(model, x, eps=0.05)
    found = fosc(s["gradient"], s["candidate"], s["x"], "Linf", 0.05)
    assert float(found.normalised.max()) < 1e-5
    assert torch.allclose(
        sgcs(s["direction_sum"], s["directions"], 10), torch.ones(50, dtype=torch.float64), atol=1e-6
    )


def test_sgcs_is_the_mean_over_pairs_of_equation_3():
    model = cnn(seed=3)
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    s = run_pgd(model, x, eps=0.2, steps=5)
    # The same trajectory again, gradient by gradient.
    attack = PGD("Linf", 0.2, 0.05, 5)
    state = attack.start(Examples(x, y, torch.arange(6), model(x)), torch.zeros(6, dtype=torch.int64))
    signs = []
    for _ in range(5):
        signs.append(
            evaluate(model, state.candidate, lambda z: cross_entropy(z, y)).gradient.sign().flatten(1)
        )
        state = attack.step(model, state)
    pairs = [
        torch.nn.functional.cosine_similarity(signs[i], signs[j], dim=1)
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    expected = torch.stack(pairs).mean(0)
    assert float(expected.min()) < 0.999, "a model on which all gradients agree shows nothing"
    assert torch.allclose(sgcs(s["direction_sum"], s["directions"], 5).float(), expected, atol=1e-5)


def test_zero_gradients_are_counted_and_give_no_division_by_zero():
    flat = Wrapped(lambda x: torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sum(1) * 0], 1))
    s = run_pgd(flat, torch.rand(4, 1, 2, 2))
    assert s["directions"].tolist() == [0] * 4
    found = fosc(s["gradient"], s["candidate"], s["x"], "Linf", 0.05)
    assert found.raw.tolist() == found.normalised.tolist() == [0.0] * 4
    assert sgcs(s["direction_sum"], s["directions"], 10).tolist() == [0.0] * 4


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), eps=st.floats(0.05, 0.4), centre=st.floats(0.45, 0.55))
def test_in_one_dimension_fosc_above_zero_implies_sgcs_below_one(seed, eps, centre):
    """Appendix E, for k * step_size > eps: gradients that always agree drive PGD to the edge, where FOSC is 0."""
    draw = np.random.default_rng(seed)
    a, b, c = (float(v) for v in draw.normal(size=3) * (3, 8, 1))

    def wavy(x):
        z = a * x.flatten(1) + torch.sin(b * x.flatten(1) + c)
        return torch.cat([z, -z], 1)

    s = run_pgd(Wrapped(wavy), torch.full((1, 1, 1, 1), centre), eps=eps, labels=torch.tensor([0]))
    raw = float(fosc(s["gradient"], s["candidate"], s["x"], "Linf", eps).raw)
    if raw > 1e-6:
        assert float(sgcs(s["direction_sum"], s["directions"], 10)) < 1 - 1e-9
