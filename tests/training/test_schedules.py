"""Learning rates against torch's schedulers."""

import dataclasses

import pytest
import torch

from robaudit.training import TrainSettings
from robaudit.training.schedules import learning_rate

SETTINGS = TrainSettings("digits", epochs=20, lr=0.3)


def optimiser():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)


@pytest.mark.parametrize("steps", [1, 7])
def test_one_cycle_is_torchs(steps):
    given = optimiser()
    oracle = torch.optim.lr_scheduler.OneCycleLR(given, 0.3, total_steps=20 * steps)
    settings = dataclasses.replace(SETTINGS, schedule="onecycle")
    for number in range(20 * steps):
        expected = given.param_groups[0]["lr"]
        assert learning_rate(settings, number // steps, number % steps, steps) == pytest.approx(expected)
        given.step()
        if number < 20 * steps - 1:
            oracle.step()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cosine", lambda given: torch.optim.lr_scheduler.CosineAnnealingLR(given, 20)),
        ("multistep", lambda given: torch.optim.lr_scheduler.MultiStepLR(given, [10, 15], 0.1)),
        ("constant", lambda given: torch.optim.lr_scheduler.ConstantLR(given, 1.0)),
    ],
)
def test_epoch_schedules_are_torchs(name, make):
    given = optimiser()
    oracle = make(given)
    for epoch in range(20):
        settings = dataclasses.replace(SETTINGS, schedule=name)
        assert learning_rate(settings, epoch, 3, 5) == pytest.approx(given.param_groups[0]["lr"])
        given.step()
        oracle.step()


def test_the_papers_milestones_are_100_and_150_of_200():
    settings = TrainSettings("cifar100", schedule="multistep")
    rates = [learning_rate(settings, epoch, 0, 195) for epoch in (0, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
