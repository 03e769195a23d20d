"""The fast form of a model that attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: A folded network may differ by rounding only: at most this share of the logits' spread.
_ROUNDING = 1e-3


_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class SearchModel(nn.Module):
    """A frozen copy of a classifier: channels-last, batch norm folded into convolutions where that is exact."""

    def __init__(self, classifier: nn.Module, device: torch.device, precision: str, sample: Tensor | None):
        super().__init__()
        network = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
        folded = None if sample is None else fold_batch_norm(network, sample.to(device))
        self.network = (network if folded is None else folded).to(memory_format=torch.channels_last)
        self.precision, self._device_type = precision, device.type
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        x = x.contiguous(memory_format=torch.channels_last)
        if self.precision not in _HALF:
            return self.network(x)
        # Autocast rather than a cast network: the normalisation still sees the input in float32.
        with torch.autocast(self._device_type, _HALF[self.precision]):
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
        sample: (n, C, H, W) inputs on which folding is checked; without any nothing is folded.

    """
    if precision == "auto":
        precision = "tf32" if device.type == "cuda" else "fp32"
    return SearchModel(classifier, device, precision, sample)


def fold_batch_norm(network: nn.Module, sample: Tensor) -> nn.Module | None:
    """The network with each batch norm that follows a convolution folded into it.

    Returns:
        None where nothing can be folded: the network cannot be traced, has no such pair, or would answer
        otherwise than by rounding.

    """
    try:
        traced = fx.symbolic_trace(copy.deepcopy(network))
    except Exception:
        return None
    modules = dict(traced.named_modules())
    folded = 0
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(modules.get(node.target), nn.BatchNorm2d):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[before.target], modules[node.target]
        shared = sum(other.target == before.target for other in traced.graph.nodes) > 1
        if not isinstance(conv, nn.Conv2d) or shared or norm.running_mean is None:
            continue
        _replace(traced, str(before.target), fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
        folded += 1
    if not folded:
        return None
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced if _same(network, traced, sample) else None


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


def _same(network: nn.Module, folded: nn.Module, sample: Tensor) -> bool:
    with torch.no_grad():
        expected, found = network(sample), folded(sample)
    spread = (expected.amax(1) - expected.amin(1)).clamp_min(1e-12)[:, None]
    return bool(((expected - found).abs() <= _ROUNDING * spread).all())


@contextmanager
def arithmetic(*, tf32: bool) -> Iterator[None]:
    """Whether CUDA may use TF32 in matrix products and convolutions; as before afterwards."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def strict_arithmetic() -> AbstractContextManager[None]:
    """Full float32, in which every witness is checked."""
    return arithmetic(tf32=False)
