"""The fast form of a model that attacks search with, and the strict arithmetic that witnesses are checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: A folded network may differ by rounding only: at most this share of the logits' spread.
_ROUNDING = 1e-3


class SearchModel(nn.Module):
    """A frozen copy of a classifier: channels-last, batch norm folded into convolutions where that is exact."""

    def __init__(self, classifier: nn.Module, device: torch.device, sample: Tensor | None = None):
        super().__init__()
        network = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
        folded = None if sample is None else fold_batch_norm(network, sample.to(device))
        self.network = (network if folded is None else folded).to(memory_format=torch.channels_last)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1] to logits (n, K)."""
        return self.network(x.contiguous(memory_format=torch.channels_last))


def search_model(classifier: nn.Module, device: torch.device, sample: Tensor | None = None) -> SearchModel:
    """The form of `classifier` that attacks search with; the original is left as it is.

    Args:
        classifier: from inputs in [0, 1] to logits.
        device: where to put the copy.
        sample: (n, C, H, W) inputs on which folding is checked; without any nothing is folded.

    """
    return SearchModel(classifier, device, sample)


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
def strict_arithmetic() -> Iterator[None]:
    """Full float32 in matrix products and convolutions on CUDA; restored afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
