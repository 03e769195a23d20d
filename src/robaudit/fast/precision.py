"""The fast form of a model that attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from robaudit.devices import has_bf16, is_accelerator
from robaudit.fast.execution import Execution, Model, execute
from robaudit.fast.folding import fold_batch_norm, trace
from robaudit.fast.fusing import fuse_convolutions

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Multiply-adds of an example's convolutions below which bf16 gains nothing on the CPU: the attacks' own work and the
#: conversions outweigh them (1.1 times faster at 2 million, 1.6 at 40 million).
WORTH_HALF = 10_000_000


class SearchModel(nn.Module):
    """A frozen copy of a classifier in its fastest form: see `folding`, `fusing` and `execution`, and channels-last.

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
        self._passes: Model = self._in_precision
        self.eval()

    @property
    def exact(self) -> SearchModel:
        """The form that computes in float32; this one where it does."""
        return self._exact[0]

    def start_passes(self, device: torch.device, execution: Execution) -> None:
        """Start passes as `execution` says from now on; one operation after the other where the graph is not known."""
        if self.traced:
            self._passes = execute(self._in_precision, device, execution)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        with self.arithmetic():  # passes may be recorded in here, with the derivative's
            return self._passes(x.contiguous(memory_format=torch.channels_last))

    def _in_precision(self, x: Tensor) -> Tensor:
        if self._autocast:
            # Autocast rather than a cast network: the normalisation still sees the input in float32.
            with torch.autocast(x.device.type, _HALF[self.precision]):
                return self.network(x)
        return self.network(x)

    def arithmetic(self) -> AbstractContextManager[None]:
        """The state of the GPU's switches that this model's forward and backward passes want.

        In half precision the first convolution, which stays in float32, may use TF32; the margin may not.
        """
        return arithmetic(tf32=self.precision == "tf32", convolutions=self.precision != "fp32")


def search_model(
    classifier: nn.Module,
    device: torch.device,
    precision: str = "fp32",
    sample: Tensor | None = None,
    execution: Execution = "auto",
) -> SearchModel:
    """The form of `classifier` that attacks search with; the original is left as it is.

    Args:
        classifier: from inputs in [0, 1] to logits.
        device: where to put the copy.
        precision: fp32, tf32 (of CUDA only), bf16, fp16, or auto: bf16 where the device has instructions for that and
            the network's convolutions can use them, otherwise tf32 on a GPU of CUDA's and fp32 elsewhere.
        sample: (n, C, H, W) inputs on which rewriting is checked; without any nothing is rewritten.
        execution: how passes are started.

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
        if graph is None or sample is None:
            return None
        return fuse_convolutions(graph, sample, dtype, least)

    half = None
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        half = fused(torch.bfloat16, WORTH_HALF if precision == "auto" else 0)
    elif precision == "fp16" and is_accelerator(device):
        half = fused(torch.float16)
    if precision == "auto":
        precision = "bf16" if half is not None else "tf32" if device.type == "cuda" else "fp32"
    exact = SearchModel(fused(torch.float32) or network, "fp32", traced=traced)
    exact.start_passes(device, execution)
    if precision == "fp32":
        return exact
    if precision == "tf32":
        half = exact.network
    model = SearchModel(half or network, precision, traced=traced, autocast=half is None, exact=exact)
    model.start_passes(device, execution)
    return model


@contextmanager
def arithmetic(*, tf32: bool, convolutions: bool | None = None) -> Iterator[None]:
    """Whether CUDA may use TF32 in matrix products, and in convolutions (by default as there); as before afterwards."""
    if not torch.cuda.is_initialized():  # the switches mean nothing on the CPU, where several threads work
        yield
        return
    name, values, products, others = _switches()
    wanted = [(switch, tf32) for switch in products]
    wanted += [(switch, tf32 if convolutions is None else convolutions) for switch in others]
    before = [getattr(switch, name) for switch, _ in wanted]
    for switch, on in wanted:
        setattr(switch, name, values[on])
    try:
        yield
    finally:
        for (switch, _), value in zip(wanted, before, strict=True):
            setattr(switch, name, value)


def _switches() -> tuple[str, tuple[Any, Any], tuple[Any, ...], tuple[Any, ...]]:
    """Of torch's two ways to say it the one in use: it refuses to answer in one what was set in the other."""
    cuda, cudnn = torch.backends.cuda, cast("Any", torch.backends.cudnn)
    try:
        _ = cuda.matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:
        return "fp32_precision", ("ieee", "tf32"), (cuda.matmul, cudnn.rnn), (cudnn.conv,)
    return "allow_tf32", (False, True), (cuda.matmul,), (cudnn,)


def strict_arithmetic() -> AbstractContextManager[None]:
    """Full float32, in which every witness is checked."""
    return arithmetic(tf32=False)
