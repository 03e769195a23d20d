"""Several processes under `torchrun`: each takes its share of every batch, and the step is that of one process.

The gradient is that of the mean over the whole batch, added up over the ranks after the backward pass; nothing is
exchanged during the inner maximisation, which is most of the work. Batch norm takes its statistics over the whole
batch too, so that the number of processes changes rounding only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from robaudit.ranks import Ranks


def add_up_gradients(network: nn.Module, ranks: Ranks) -> None:
    """Every parameter's gradient summed over the ranks, in one message."""
    if ranks.world == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = ranks.add_up(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


class _AddUp(torch.autograd.Function):
    """The sum over all ranks; backwards the gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of all ranks' examples together."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) normalised by the mean and variance over every rank's n, H and W."""
        if not self.training:
            return super().forward(x)
        count = torch.tensor([x.numel() / x.shape[1]], device=x.device)
        moments = [x.float().sum((0, 2, 3)), x.float().square().sum((0, 2, 3)), count]
        total: Tensor = _AddUp.apply(torch.cat(moments))
        n = total[-1].detach()
        mean, square = (total[:-1] / n).chunk(2)
        variance = (square - mean.square()).clamp_min(0)
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                unbiased = variance * n / (n - 1).clamp_min(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(unbiased, self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        shape = (1, -1, 1, 1)
        normal = (x - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        return normal if self.weight is None else normal * self.weight.view(shape) + self.bias.view(shape)


def with_whole_batch_norm(network: nn.Module, ranks: Ranks) -> nn.Module:
    """The network with every batch norm made one over all ranks, in place; unchanged where one process is alone."""
    if ranks.world > 1:
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = WholeBatchNorm
    return network
