"""The fast form of a model that the attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SearchModel(nn.Module):
    """A frozen copy of a classifier in channels-last layout, in eval mode."""

    def __init__(self, classifier: nn.Module, device: torch.device):
        super().__init__()
        self.network = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
        self.network = self.network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        return self.network(x.contiguous(memory_format=torch.channels_last))


def search_model(classifier: nn.Module, device: torch.device) -> SearchModel:
    """The form of `classifier` that the attacks search with; the original is left as it is."""
    return SearchModel(classifier, device)


@contextmanager
def strict_arithmetic() -> Iterator[None]:
    """Full float32 in matrix products and convolutions on CUDA; restored afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
