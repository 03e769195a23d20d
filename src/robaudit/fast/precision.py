"""The fast form of a model that attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from robaudit.fast.folding import fold_batch_norm, trace
from robaudit.fast.fusing import fuse_convolutions

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Multiply-adds of an example's convolutions below which bf16 gains nothing on the CPU: the attacks' own work and the
#: conversions outweigh them (1.1 times faster at 2 million, 1.6 at 40 million).
WORTH_HALF = 10_000_000


class SearchModel(nn.Module):
    """A frozen copy of a classifier in its fastest form: see `folding` and `fusing`, and channels-last.

    Attributes:
        precision: fp32, tf32, bf16 or fp16.
        traced: whether its graph is known, and with it that calls do not disturb each other.

    """

    def __init__(
        self,
        network: nn.Module,
        precision: str,
        *,
        traced: bool,
        autocast: bool = False,
        exact: SearchModel | None = None,
    ):
        super().__init__()
        self.network, self.precision, self.traced = network, precision, traced
        self._autocast = autocast and precision in _HALF
        self._exact = (exact or self,)  # in a tuple: not a part of this module
        self.eval()

    @property
    def exact(self) -> SearchModel:
        """The form that computes in float32; this one where it does."""
        return self._exact[0]

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        x = x.contiguous(memory_format=torch.channels_last)
        if self._autocast:
            # Autocast rather than a cast network: the normalisation still sees the input in float32.
            with torch.autocast(x.device.type, _HALF[self.precision]):
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
        precision: fp32, tf32, bf16, fp16, or auto: tf32 on a GPU; on the CPU bf16 where it has instructions for
            that and the network's convolutions can use them, otherwise fp32.
        sample: (n, C, H, W) inputs on which rewriting is checked; without any nothing is rewritten.

    """
    network = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
    graph = None
    if sample is not None:
        sample = sample.to(device)
        graph = trace(network, sample)
        graph = graph and fold_batch_norm(graph, sample)
    network = (graph or network).to(memory_format=torch.channels_last)
    traced = graph is not None

    def fused(dtype: torch.dtype, least: int = 0) -> nn.Module | None:
        if graph is None or sample is None or device.type != "cpu":
            return None
        return fuse_convolutions(graph, sample, dtype, least)

    half = None
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        half = fused(torch.bfloat16, WORTH_HALF if precision == "auto" else 0)
    if precision == "auto":
        precision = "tf32" if device.type == "cuda" else "fp32" if half is None else "bf16"
    exact = SearchModel(fused(torch.float32) or network, "fp32", traced=traced)
    if precision == "fp32":
        return exact
    return SearchModel(half or network, precision, traced=traced, autocast=half is None, exact=exact)


def has_bf16(device: torch.device) -> bool:
    """Whether the CPU has instructions for bfloat16."""
    tells = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch's own, and may go
    return device.type == "cpu" and any(getattr(torch.cpu, tell, bool)() for tell in tells)


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
