"""A network's graph, without what does nothing, and batch norms folded into its convolutions.

What is rewritten, here and in `fusing`, is tried on a sample of inputs and dropped where the answers differ by more
than rounding.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robaudit.gradients import input_gradient

#: A rewritten network may differ by rounding only: at most this share of the logits' spread.
ROUNDING = 1e-3

#: Modules that pass their input on in evaluation mode. Between a convolution and what could be done in the same pass
#: they would be in the way.
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def trace(network: nn.Module, sample: Tensor) -> fx.GraphModule | None:
    """The network as a graph; None where it cannot be traced or the graph answers otherwise than `network`."""
    try:
        traced = graph_of(copy.deepcopy(network))
    except Exception:
        return None
    # Two sizes, for a graph may have taken the batch's for a constant.
    same = same_answers(network, traced, sample) and same_answers(network, traced, sample[:1])
    return traced if same else None


def graph_of(network: nn.Module) -> fx.GraphModule:
    """The graph of a network in evaluation mode, whose modules it shares, without those that pass their input on.

    Raises:
        Exception: whatever `torch.fx` meets in a network that cannot be traced.

    """
    graph = fx.symbolic_trace(network)
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], _IDLE) and len(node.args) == 1:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def fold_batch_norm(traced: fx.GraphModule, sample: Tensor) -> fx.GraphModule:
    """The network with each batch norm that follows a convolution folded into it; the same where none can be."""
    folded = copy.deepcopy(traced)
    modules = dict(folded.named_modules())
    for node in list(folded.graph.nodes):
        if node.op != "call_module" or not isinstance(modules.get(node.target), nn.BatchNorm2d):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[before.target], modules[node.target]
        shared = sum(other.target == before.target for other in folded.graph.nodes) > 1
        if not isinstance(conv, nn.Conv2d) or shared or norm.running_mean is None:
            continue
        _replace(folded, str(before.target), fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded if same_answers(traced, folded, sample) else traced


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


#: The derivatives of a rewritten network may differ by this share of their length: a ReLU whose input is rounded to the
#: other side of 0 changes them, though hardly the logits.
SAME_SLOPE = 0.1


def same_slopes(network: nn.Module, other: nn.Module, sample: Tensor) -> bool:
    """Whether the derivatives of two networks at (n, C, H, W) inputs differ by `SAME_SLOPE` of their length at most."""
    expected, found = (_slope(each, sample) for each in (network, other))
    length = torch.linalg.vector_norm(expected)
    return bool(found.isfinite().all()) and bool(
        torch.linalg.vector_norm(found - expected) <= SAME_SLOPE * length + 1e-12
    )


def _slope(network: nn.Module, sample: Tensor) -> Tensor:
    x = sample.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = network(x)
        # Each logit weighs differently, so that no two errors cancel.
        weights = torch.linspace(-1, 1, logits.shape[1], device=x.device, dtype=logits.dtype)
        return input_gradient((logits * weights).sum(), x)


def same_answers(network: nn.Module, other: nn.Module, sample: Tensor, rounding: float = ROUNDING) -> bool:
    """Whether the logits of two networks on (n, C, H, W) inputs differ by `rounding` of their spread at most."""
    with torch.no_grad():
        expected, found = network(sample), other(sample)
    spread = (expected.amax(1) - expected.amin(1)).clamp_min(1e-12)[:, None]
    return bool(((expected - found).abs() <= rounding * spread).all())
