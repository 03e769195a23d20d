"""What the outer minimisation minimises, from logits alone. Every function takes (n, K) logits in any float type.

A divergence is computed from log-probabilities only, so that neither it nor its gradient is NaN where a probability
underflows to 0. The direct form, sum p (log p - log q) with p from a softmax, has the gradient 0 * log 0 there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Means over the batch: `total` to be minimised, its `clean` and `robust` terms (the latter times beta)."""

    total: Tensor
    clean: Tensor
    robust: Tensor


def kl(clean: Tensor, adversarial: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(adversarial)) of each row, (n,), in nats; finite wherever the logits are."""
    log_p = F.log_softmax(clean.float(), dim=1)
    log_q = F.log_softmax(adversarial.float(), dim=1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def trades(clean: Tensor, adversarial: Tensor, y: Tensor, beta: float | Tensor) -> Loss:
    """Equation 1 of Li et al.; Zhang et al. 2019 (https://arxiv.org/abs/1901.08573), Eq. 5."""
    natural = F.cross_entropy(clean.float(), y)
    robust = beta * kl(clean, adversarial).mean()
    return Loss(natural + robust, natural, robust)


def pgd_at(clean: Tensor, adversarial: Tensor, y: Tensor, beta: float | Tensor) -> Loss:
    """The cross-entropy at the adversarial input alone (https://arxiv.org/abs/1706.06083, Eq. 2.1); no beta."""
    del clean, beta
    robust = F.cross_entropy(adversarial.float(), y)
    return Loss(robust, torch.zeros_like(robust), robust)


def mart(clean: Tensor, adversarial: Tensor, y: Tensor, beta: float | Tensor) -> Loss:
    """Boosted cross-entropy plus KL weighted by 1 - p_y(clean) (Wang et al. 2020, Eq. 7 and 8).

    The boosted cross-entropy is -log p_y(adv) - log(1 - max_{k != y} p_k(adv)). The second logarithm is taken of
    all the other classes' probability together, which cannot cancel to 0.
    """
    log_q = F.log_softmax(adversarial.float(), dim=1)
    others = log_q.scatter(1, y[:, None], float("-inf"))
    rival = others.argmax(1, keepdim=True)
    # log(1 - q_rival) as the log of a sum over the classes that remain.
    remaining = log_q.scatter(1, rival, float("-inf")).logsumexp(1)
    boosted = (-log_q.gather(1, y[:, None]).squeeze(1) - remaining).mean()
    p_y = F.softmax(clean.float(), dim=1).gather(1, y[:, None]).squeeze(1)
    robust = beta * (kl(clean, adversarial) * (1 - p_y)).mean()
    return Loss(boosted + robust, boosted, robust)


LOSSES = {"trades": trades, "trades-ce": trades, "pgd-at": pgd_at, "mart": mart}
