"""Our SGD against torch's."""

import pytest
import torch

from robaudit.ranks import Ranks
from robaudit.training import TrainSettings
from robaudit.training.sgd import SGD
from robaudit.training.stepping import Stepper
from tests.models import cnn


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 5e-4), (0.9, 0.0), (0.0, 1e-2)])
def test_the_steps_are_torchs(momentum, decay):
    ours, theirs = (cnn().requires_grad_(True) for _ in range(2))
    mine = SGD(ours, momentum, decay)
    oracle = torch.optim.SGD(theirs.parameters(), 0.1, momentum, weight_decay=decay, nesterov=momentum > 0)
    generator = torch.Generator().manual_seed(0)
    for number in range(5):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        oracle.param_groups[0]["lr"] = 0.1 / (number + 1)
        oracle.step()
        if number == 3:  # through the disk and back
            state, mine = mine.state(), SGD(ours, momentum, decay)
            mine.load(state)
        mine.step(0.1 / (number + 1))
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)
    mine.zero_grad()
    assert all(p.grad is None for p in ours.parameters())


def test_clipping_is_torchs():
    settings = TrainSettings("digits", clip=0.5)
    ours, theirs = (cnn().requires_grad_(True) for _ in range(2))
    stepper = Stepper(ours, SGD(ours, 0.9, 0.0), settings, Ranks())
    for scale in (1.0, 1e-4):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(a.numel())) * scale
            b.grad = a.grad.clone()
        stepper._clip()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, rtol=1e-4)
