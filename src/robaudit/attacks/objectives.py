"""What the attacks maximise, per example, and its gradient with respect to the input.

Logits are `(n, K)`, labels and targets `(n,)` int64; every objective returns `(n,)` and grows as the
example comes closer to being misclassified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.gradients import input_gradient

Model = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """A model's answer at some inputs: `logits` (n, K), `loss` (n,), `gradient` like the inputs."""

    logits: Tensor
    loss: Tensor
    gradient: Tensor


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(z)_y."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest z_j - z_y over j != y: positive exactly where the example is misclassified."""
    others = logits.scatter(1, y[:, None], float("-inf"))
    return others.amax(1) - logits.gather(1, y[:, None]).squeeze(1)


def targeted_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """z_target - z_y."""
    return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def _bounded(denominator: Tensor, logits: Tensor) -> Tensor:
    """Ties make DLR's denominator 0; below a millionth of the logits' scale it is held constant."""
    floor = logits.detach().abs().amax(1) * 1e-6 + 1e-12
    return torch.maximum(denominator, floor)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio (https://arxiv.org/abs/2003.01690, Eq. 6); the margin where K < 3."""
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / _bounded(top[:, 0] - top[:, 2], logits)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR (https://arxiv.org/abs/2003.01690, Eq. 7); the targeted margin where K < 4."""
    if logits.shape[1] < 4:
        return targeted_margin(logits, y, target)
    top = logits.topk(4, dim=1).values
    denominator = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return targeted_margin(logits, y, target) / _bounded(denominator, logits)


def evaluate(model: Model, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Evaluation:
    """The logits, the loss and its per-example gradient at `x`; one forward and one backward pass.

    The loss is taken in float32 whatever the model computes in. Where the logits are not finite the loss
    is -inf and the gradient 0, so that such a point is never taken for a success or followed. A model that
    nothing can be derived from (thresholds, integers) has the gradient 0 too.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x).float()
        value = loss(logits)
        gradient = input_gradient(value.sum(), x)
    finite = logits.detach().isfinite().all(1)
    value = torch.where(finite & value.isfinite(), value.detach(), float("-inf"))
    gradient = torch.where(finite.reshape(-1, *[1] * (x.dim() - 1)), gradient, 0.0)
    return Evaluation(logits.detach(), value, gradient.nan_to_num(0.0, 0.0, 0.0))


def forward(model: Model, x: Tensor) -> Tensor:
    """The logits at `x` in float32, without a graph."""
    with torch.no_grad():
        return model(x).float()


#: As a share of the logits' spread: what a search in half precision may get a margin wrong by. Measured on inputs at
#: the ball's edge: at most 0.012 on defended models (benchmarks/parity.py --precision bf16 shows what comes of it).
DOUBT = 0.02


def nearly_misclassified(logits: Tensor, y: Tensor, doubt: float = DOUBT) -> Tensor:
    """(n,) bool: all logits finite, and the one at `y` ahead by `doubt` of their spread at most, or behind."""
    spread = logits.amax(1) - logits.amin(1)
    return logits.isfinite().all(1) & (margin(logits, y) > -doubt * spread)


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """(n,) bool: all logits finite and the largest not at `y`. A NaN is not a prediction of class 0."""
    return logits.isfinite().all(1) & (margin(logits, y) > 0)
