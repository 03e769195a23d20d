"""Layers whose weights are drawn anew in every call, as some published defences have them.

Parametric noise injection (He et al. 2019, https://arxiv.org/abs/1811.09310) and Bayesian networks (Liu et al. 2019,
https://arxiv.org/abs/1810.01279) add normal noise to every weight, also when predicting.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sampled(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias (or None), with noise of `weight_std` and `bias_std` where there are such."""
    weight, bias = (_draw(getattr(layer, name), getattr(layer, f"{name}_std")) for name in ("weight", "bias"))
    return weight, bias


def _draw(mean: Tensor, std: Tensor | None) -> Tensor:
    return mean if std is None else mean + std * torch.randn_like(mean)


class NoisyConv2d(nn.Conv2d):
    """A convolution with noise."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        return self._conv_forward(x, *sampled(self))


class NoisyLinear(nn.Linear):
    """A linear layer with noise."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return F.linear(x, *sampled(self))


class NoisyBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by running statistics, with noise on scale and shift."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.BatchNorm2d` in evaluation mode."""
        return F.batch_norm(x, self.running_mean, self.running_var, *sampled(self), eps=self.eps)


NOISY: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: NoisyConv2d,
    nn.Linear: NoisyLinear,
    nn.BatchNorm2d: NoisyBatchNorm2d,
}


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    sizes = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(size in (1, whole) for size, whole in sizes)


def add_noise(module: nn.Module, weight_std: Tensor | None, bias_std: Tensor | None) -> None:
    """Turn a layer into its noisy kind, in place.

    Args:
        module: a convolution, linear layer or batch normalisation.
        weight_std: standard deviations that broadcast to the weight, or None for no noise.
        bias_std: likewise to the bias.

    Raises:
        ValueError: such a layer has no noisy kind, or the deviations do not broadcast to its numbers.

    """
    kind = NOISY.get(type(module))
    if kind is None:
        raise ValueError(f"{type(module).__name__} cannot have noise")
    for name, std in (("weight", weight_std), ("bias", bias_std)):
        own = getattr(module, name)
        if std is not None and (own is None or not _broadcasts(std.shape, own.shape)):
            raise ValueError(f"the noise of {name} does not fit")
        module.register_buffer(f"{name}_std", std)
    module.__class__ = kind  # the parameters stay where they are
