"""The activations that small networks are published with, by the word they have in a specification."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn


class MaxMin(nn.Module):
    """The larger and the smaller of each two channels, half the channels apart (https://arxiv.org/abs/1811.05381)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape, C even."""
        one, other = x.chunk(2, 1)
        return torch.cat([torch.maximum(one, other), torch.minimum(one, other)], 1)


class LocalWinner(nn.Module):
    """Of each two neighbouring channels one survives, drawn at random: the larger is the likelier.

    Stochastic local winner-takes-all (Panousis et al. 2021, https://arxiv.org/abs/2112.02671); draws are relaxed at
    temperature 0.01, as there when predicting.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape, C even."""
        pairs = x.unflatten(1, (-1, 2))
        gumbel = -torch.log(-torch.log(torch.rand_like(pairs) + 1e-8) + 1e-8)
        return (pairs * torch.softmax((pairs + gumbel) / 0.01, 2)).flatten(1, 2)


class KeepLargest(nn.Module):
    """Of all numbers of an example the largest share is kept, the rest is 0: k-winners-take-all.

    Xiao et al. 2020, https://arxiv.org/abs/1905.10510.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ...) to the same shape."""
        flat = x.flatten(1)
        least = flat.topk(max(1, int(self.share * flat.shape[1])), 1).values[:, -1:]
        return (flat * (flat >= least)).view_as(x)


class QuickGELU(nn.Module):
    """x times the sigmoid of 1.702 x (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415, Section 2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """To the same shape."""
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky0.01": partial(nn.LeakyReLU, 0.01),
    "leaky0.1": partial(nn.LeakyReLU, 0.1),
    "leaky0.2": partial(nn.LeakyReLU, 0.2),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "quickgelu": QuickGELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu6": nn.ReLU6,
    "relu1": partial(nn.Hardtanh, 0.0, 1.0),
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "maxmin": MaxMin,
    "kwta0.1": partial(KeepLargest, 0.1),
    "kwta0.2": partial(KeepLargest, 0.2),
    "kwta0.3": partial(KeepLargest, 0.3),
    "lwta2": LocalWinner,
}
#: Activations with learned slopes below zero (PReLU, He et al. 2015, https://arxiv.org/abs/1502.01852): one number, or
#: one a channel.
SLOPES = ("prelu", "prelu-each")


def make_activation(word: str, channels: int) -> nn.Module:
    """A fresh activation of this many channels by a word of `ACTIVATIONS` or `SLOPES`."""
    if word in SLOPES:
        return nn.PReLU(channels if word == "prelu-each" else 1)
    return ACTIVATIONS[word]()
