"""The fast form of a model that attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from robaudit.attacks.folding import fold_batch_norm, trace
from robaudit.attacks.fusing import fuse_convolutions

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class SearchModel(nn.Module):
    """A frozen copy of a classifier in its fastest exact form: see `folding` and `fusing`, and channels-last.

    Attributes:
        traced: whether its graph is known, and with it that calls do not disturb each other.

    """

    def __init__(self, classifier: nn.Module, device: torch.device, precision: str, sample: Tensor | None):
        super().__init__()
        network = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
        sample = None if sample is None else sample.to(device)
        graph = None if sample is None else trace(network, sample)
        self.traced = graph is not None
        if graph is not None and sample is not None:
            network = graph = fold_batch_norm(graph, sample)
        network = network.to(memory_format=torch.channels_last)
        self.precision, self._device_type = precision, device.type
        if graph is not None and sample is not None and device.type == "cpu" and precision not in _HALF:
            network = fuse_convolutions(graph, sample)
        self.network = network
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        x = x.contiguous(memory_format=torch.channels_last)
        if self.precision in _HALF:
            # Autocast rather than a cast network: the normalisation still sees the input in float32.
            with torch.autocast(self._device_type, _HALF[self.precision]):
                return self.network(x)
        return self.network(x)

    def arithmetic(self) -> AbstractContextManager[None]:
        """The state of the GPU's switches that this model's forward and backward passes want."""
        return arithmetic(tf32=self.precision == "tf32")


def search_model(
    classifier: nn.Module, device: torch.device, precision: str = "fp32", sample: Tensor | None = None
) -> SearchModel:
    """The form of `classifier` that attacks search with; the original is left as it is.

    Args:
        classifier: from inputs in [0, 1] to logits.
        device: where to put the copy.
        precision: fp32, tf32, bf16, fp16, or auto: tf32 on a GPU, fp32 on the CPU, where bf16 was measured to
            weaken FAB-T by 5 points.
        sample: (n, C, H, W) inputs on which rewriting is checked; without any nothing is rewritten.

    """
    if precision == "auto":
        precision = "tf32" if device.type == "cuda" else "fp32"
    return SearchModel(classifier, device, precision, sample)


@contextmanager
def arithmetic(*, tf32: bool) -> Iterator[None]:
    """Whether CUDA may use TF32 in matrix products and convolutions; as before afterwards."""
    if not torch.cuda.is_initialized():  # the switches mean nothing on the CPU, where several threads work
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def strict_arithmetic() -> AbstractContextManager[None]:
    """Full float32, in which every witness is checked."""
    return arithmetic(tf32=False)
