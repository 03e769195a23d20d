"""The inner maximisation: a batch in, adversarial inputs out, and what its trajectory says about the gradients.

TPGD ascends the divergence from the clean prediction, PGD the cross-entropy. The clean logits are computed once, the
network is in evaluation mode and its parameters are frozen (the published code computes the clean logits anew in
every step, which gives the same numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.attacks.geometry import l2, per_row, project
from robaudit.attacks.randomness import Draws
from robaudit.measures import fosc, sgcs
from robaudit.training.losses import kl
from robaudit.training.settings import Inner, Method

Model = Callable[[Tensor], Tensor]

#: TPGD starts this far from the clean input, as a standard deviation (Zhang et al.'s published code).
TPGD_START = 0.001


@dataclass(frozen=True)
class Attacked:
    """What the inner maximisation found.

    Attributes:
        x: (n, C, H, W), in the ball and in [0, 1].
        clean: (n, K) float32, the logits at the clean inputs in evaluation mode.
        fosc: (n,) normalised to [0, 2], at the last point where the gradient was taken, one step before `x`.
        sgcs: (n,) in [-1, 1], over the trajectory.
        finite: whether all logits were.

    """

    x: Tensor
    clean: Tensor
    fosc: Tensor
    sgcs: Tensor
    finite: Tensor


@dataclass(frozen=True)
class Ascent:
    """How the maximum is looked for.

    Attributes:
        inner: the ball and the steps.
        method: `trades` ascends the divergence, the others the cross-entropy.
        far: begin anywhere in the ball, where `trades` would begin next to the input.

    """

    inner: Inner
    method: Method
    far: bool = False


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without parameter gradients; afterwards each module and parameter as it was."""
    modes = {module: module.training for module in network.modules()}
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_()
        for module, mode in modes.items():
            module.training = mode


def starting_point(x: Tensor, ids: Tensor, step: int, seed: int, eps: float, near: bool) -> Tensor:
    """Where the ascent begins: next to `x` for TPGD, anywhere in the ball for PGD; in [0, 1]."""
    size = x[0].numel()
    if near:
        noise = Draws(seed, "tpgd").normal(ids, step, size) * TPGD_START
    else:
        noise = (Draws(seed, "pgd-training").uniform(ids, step, size) * 2 - 1) * eps
    return (x + noise.reshape(x.shape)).clamp(0, 1)


def attack(model: Model, x: Tensor, y: Tensor, ids: Tensor, step: int, seed: int, ascent: Ascent) -> Attacked:
    """The adversarial inputs of one batch.

    Args:
        model: from (n, C, H, W) in [0, 1] to logits, frozen and in evaluation mode.
        x: (n, C, H, W); in [0, 1] unless noise was added to it.
        y: (n,) labels.
        ids: (n,) the examples' ids, which key their starts.
        step: the optimiser's step, in [0, 2^32).
        seed: of the run.
        ascent: what is ascended, from where, in which steps.

    """
    inner, method = ascent.inner, ascent.method
    with torch.no_grad():
        clean = model(x).float()
    x_adv = starting_point(x, ids, step, seed, inner.eps, near=method == "trades" and not ascent.far)
    direction_sum = torch.zeros_like(x)
    directions = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    gradient, before = torch.zeros_like(x), x_adv
    finite = clean.isfinite().all()
    for _ in range(inner.steps):
        before = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            logits = model(before).float()
            value = kl(clean, logits) if method == "trades" else F.cross_entropy(logits, y, reduction="none")
            (gradient,) = torch.autograd.grad(value.sum(), before)
        finite = finite & logits.detach().isfinite().all()
        sign = gradient.sign()
        length = l2(sign)
        direction_sum += sign / per_row(length.clamp_min(1), sign)
        directions += length > 0
        x_adv = project(before.detach() + inner.step_size * sign, x, inner.eps, "Linf")
    measured = fosc(gradient, before.detach(), x, "Linf", inner.eps).normalised
    similar = sgcs(direction_sum, directions, inner.steps)
    return Attacked(x_adv, clean, measured.to(x.device, x.dtype), similar.to(x.device, x.dtype), finite)
