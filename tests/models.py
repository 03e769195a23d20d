"""Small models whose behaviour is known, shared by the tests."""

import torch
from torch import nn


class Linear(nn.Module):
    """z = W x + b on flattened inputs: the worst case inside a ball is known in closed form."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(weight, requires_grad=False),
            nn.Parameter(bias, requires_grad=False),
        )

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


def two_class_linear(seed: int = 0, size: int = 12) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, size, generator=generator)
    return Linear(weight, -0.5 * weight.sum(1))


def cnn(classes: int = 10, channels: int = 1, seed: int = 0, side: int = 8) -> nn.Module:
    """A small fixed random network with batch norm, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * (side // 2) ** 2, classes),
        )
    return model.eval().requires_grad_(False)


class Wrapped(nn.Module):
    """A model given by a function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
