"""A network before its last softmax: which endings are left out, and that the answers stay the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from robaudit.fast import before_softmax
from robaudit.inputs import Classifier, ModelInfo, parse_normalisation

X = torch.rand(6, 3, 8, 8)


class Ending(nn.Module):
    def __init__(self, last: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(192, 10)
        self.register_buffer("factor", torch.tensor(30.0))
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self, self.fc(x.flatten(1)))


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (lambda m, z: torch.softmax(z, 1), "softmax"),
        (lambda m, z: torch.softmax(30 * z, 1), "softmax"),
        (lambda m, z: (z / 0.01).softmax(dim=-1), "softmax"),
        (lambda m, z: torch.softmax(m.factor * z, 1), "softmax"),
        (lambda m, z: nn.functional.log_softmax(z * m.factor, dim=1), "log-softmax"),
        (lambda m, z: torch.log(torch.softmax(z, 1).clamp(1e-6)), "softmax"),
        (lambda m, z: torch.sigmoid(z - 2), "sigmoid"),
        (lambda m, z: (torch.sigmoid(5 * z) > 0.5).float(), "sigmoid"),
        (lambda m, z: torch.softmax(z[:, :, None, None], 1).flatten(1), "softmax"),
        (lambda m, z: torch.softmax(torch.softmax(z, 1) * 10, 1), "softmax"),
    ],
)
def test_endings_that_are_left_out(last: Any, name: str) -> None:
    network = Ending(last).eval()
    found = before_softmax(network, X)
    assert found is not None and found[1] == name
    assert torch.allclose(found[0](X), network.fc(X.flatten(1)), atol=1e-5)


@pytest.mark.parametrize(
    "last",
    [
        lambda m, z: z,
        lambda m, z: 30 * z,
        lambda m, z: torch.tanh(z),
        lambda m, z: torch.softmax(z, 0),
        lambda m, z: -torch.softmax(z, 1),
        lambda m, z: torch.softmax(z, 1) @ torch.eye(10).flip(0),
        lambda m, z: torch.softmax(z, 1) + torch.softmax(2 * z, 1),
        lambda m, z: torch.softmax(z, 1) * torch.arange(10.0),
    ],
)
def test_endings_that_stay(last: Any) -> None:
    assert before_softmax(Ending(last).eval(), X) is None


class Opaque(nn.Module):
    """Decides in Python by the images, so that its operations are not known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x.flatten(1), 1) if float(x.sum()) > 0 else x.flatten(1)


def test_of_what_is_not_known_nothing_is_left_out() -> None:
    assert before_softmax(Opaque(), X) is None


class Fixed(nn.Module):
    """Its body takes a fixed number of images, as programs may."""

    answers_with = "body"

    def __init__(self) -> None:
        super().__init__()
        self.body = Ending(lambda m, z: torch.softmax(30 * z, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.body(x[k : k + 1]) for k in range(len(x))])


def test_the_part_whose_answer_is_passed_on() -> None:
    info = ModelInfo("a", "", "b", "none", 1, 10, (3, 8, 8), "module")
    network = Classifier(Fixed(), parse_normalisation("none", 3), info)
    before = copy.deepcopy(network)
    found = before_softmax(network, X)
    assert found is not None
    assert torch.allclose(found[0](X), network.network.body.fc(X.flatten(1)), atol=1e-5)  # type: ignore[union-attr]
    assert torch.equal(network(X), before(X))
