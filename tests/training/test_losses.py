"""Every loss against a transcription of its published formula in float64, and where probabilities underflow."""

import numpy as np
import pytest
import torch

from robaudit.training.losses import LOSSES, kl, mart, pgd_at, trades


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def naive(method, clean, adversarial, y, beta):
    """The formulas as printed, example by example."""
    p, q = softmax(clean), softmax(adversarial)
    total = 0.0
    for i, label in enumerate(y):
        divergence = sum(p[i, k] * np.log(p[i, k] / q[i, k]) for k in range(p.shape[1]))
        if method in ("trades", "trades-ce"):
            total += -np.log(p[i, label]) + beta * divergence
        elif method == "pgd-at":
            total += -np.log(q[i, label])
        else:
            rival = max(q[i, k] for k in range(p.shape[1]) if k != label)
            total += -np.log(q[i, label]) - np.log(1 - rival) + beta * divergence * (1 - p[i, label])
    return total / len(y)


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_loss_is_its_published_formula(method, classes):
    generator = np.random.default_rng(classes)
    clean, adversarial = generator.normal(size=(2, 7, classes)) * 3
    y = generator.integers(0, classes, 7)
    found = LOSSES[method](
        torch.from_numpy(clean).float(), torch.from_numpy(adversarial).float(), torch.from_numpy(y), 2.5
    )
    assert float(found.total) == pytest.approx(naive(method, clean, adversarial, y, 2.5), rel=1e-5)
    assert float(found.clean + found.robust) == pytest.approx(float(found.total), rel=1e-6)


@pytest.mark.parametrize("method", ["trades", "mart"])
def test_gradients_are_those_of_the_formula(method):
    generator = np.random.default_rng(3)
    clean, adversarial = generator.normal(size=(2, 3, 4))
    y = generator.integers(0, 4, 3)
    tensors = [torch.from_numpy(side).float().requires_grad_() for side in (clean, adversarial)]
    LOSSES[method](*tensors, torch.from_numpy(y), 1.5).total.backward()
    h = 1e-6
    for which in range(2):
        for place in np.ndindex(3, 4):
            sides = [clean.copy(), adversarial.copy()]
            sides[which][place] += h
            up = naive(method, *sides, y, 1.5)
            sides[which][place] -= 2 * h
            slope = (up - naive(method, *sides, y, 1.5)) / (2 * h)
            assert float(tensors[which].grad[place]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("loss", [trades, mart, pgd_at])
def test_value_and_gradient_stay_finite_where_probabilities_underflow(loss):
    clean = torch.tensor([[300.0, -300.0, 0.0], [0.0, 500.0, -500.0]], requires_grad=True)
    adversarial = torch.tensor([[-300.0, 300.0, 0.0], [0.0, 500.0, -500.0]], requires_grad=True)
    found = loss(clean, adversarial, torch.tensor([0, 2]), 6.0)
    found.total.backward()
    assert found.total.isfinite()
    assert adversarial.grad.isfinite().all()
    assert clean.grad is None or clean.grad.isfinite().all()


def test_the_divergence_is_exact_where_a_probability_is_zero_in_float32():
    clean, adversarial = torch.tensor([[0.0, -200.0]]), torch.tensor([[-200.0, 0.0]])
    assert float(kl(clean, adversarial)) == pytest.approx(200.0)
    assert float(kl(adversarial, adversarial)) == 0
