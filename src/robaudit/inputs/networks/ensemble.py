"""Several networks that vote by averaging their probabilities."""

from __future__ import annotations

import math

import torch
from torch import nn


class Ensemble(nn.Module):
    """The logarithm of the members' mean softmax, as DVERGE's ensembles (https://arxiv.org/abs/2009.14720)."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images, already normalised, to log-probabilities (N, classes), which serve as logits."""
        stack = torch.stack([member(x).log_softmax(1) for member in self.members])
        return torch.logsumexp(stack, 0) - math.log(len(self.members))
