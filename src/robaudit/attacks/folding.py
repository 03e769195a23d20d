"""A network's graph, rewritten so that it gives the same answers in less time.

Both rewritings are tried on a sample of inputs and dropped where the answers differ by more than rounding.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: A rewritten network may differ by rounding only: at most this share of the logits' spread.
_ROUNDING = 1e-3
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_RELUS = (torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_)


def trace(network: nn.Module, sample: Tensor) -> fx.GraphModule | None:
    """The network as a graph; None where it cannot be traced or the graph answers otherwise than `network`."""
    try:
        traced = fx.symbolic_trace(copy.deepcopy(network))
    except Exception:
        return None
    # Two sizes, for a graph may have taken the batch's for a constant.
    same = _same(network, traced, sample) and _same(network, traced, sample[:1])
    return traced if same else None


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
    return folded if _same(traced, folded, sample) else traced


def fuse_convolutions(traced: fx.GraphModule, sample: Tensor) -> fx.GraphModule:
    """A form for the CPU, in float32 and channels-last, whose weights get no gradient.

    Each convolution has its weights laid out once for oneDNN and takes the addition of a shortcut and the ReLU
    that follow it along in the same pass over memory.

    Returns:
        The same network where this build of torch lacks oneDNN's operators, or nothing would be gained.

    """
    try:
        fused = copy.deepcopy(traced)
        _Shapes(fused).run(sample.contiguous(memory_format=torch.channels_last))
        return fused if _fuse(fused) and _same(traced, fused, sample) else traced
    except (
        Exception
    ):  # torch calls these operators its own; where they are gone or differ, the plain form does
        return traced


class _Shapes(fx.Interpreter):
    """Notes the shape of every tensor in its node; torch's own `ShapeProp` takes seconds to import."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = list(result.shape) if isinstance(result, Tensor) else None
        return result


class _Convolution(nn.Module):
    """A convolution by oneDNN, then an addition and a ReLU where there are such; the weights get no gradient."""

    def __init__(self, conv: nn.Conv2d, shape: list[int], *, relu: bool):
        super().__init__()
        self.settings = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.relu = relu
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.laid_out = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.settings, shape)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if torch.is_grad_enabled():
            return _Differentiable.apply(x, other, self)
        return self.compute(x, other)

    def compute(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other), or as much of it as there is."""
        convolution = torch.ops.mkldnn._convolution_pointwise
        inputs = (self.laid_out, self.bias, *self.settings)
        if other is None:
            return convolution(x, *inputs, "relu" if self.relu else "none", [], "")
        relu = "relu" if self.relu else None
        return convolution.binary(x, other, *inputs, "add", 1.0, relu, [], "")


class _Differentiable(torch.autograd.Function):
    """`_Convolution.compute` and its derivative by the inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, layer: _Convolution) -> Tensor:
        out = layer.compute(x, other)
        ctx.layer = layer
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        layer = ctx.layer
        x, out = ctx.saved_tensors
        if layer.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        padding, stride, dilation, groups = layer.settings
        at_x = None
        if ctx.needs_input_grad[0]:
            at_x = torch.ops.aten.convolution_backward(
                gradient,
                x,
                layer.weight,
                None,
                stride,
                padding,
                dilation,
                False,
                [0, 0],
                groups,
                [True, False, False],
            )[0]
        return at_x, gradient if ctx.needs_input_grad[1] else None, None


def _fuse(graph: fx.GraphModule) -> int:
    """Replace the convolutions of `graph`, whose nodes carry their shapes; how many there were."""
    modules = dict(graph.named_modules())
    count = 0
    for node in list(graph.graph.nodes):
        conv = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            continue
        last, other = node, None
        after = _only_user(node)
        if after is not None and after.op == "call_function" and after.target in _ADDITIONS:
            addend = next((arg for arg in after.args if arg is not node), None)
            # oneDNN does not broadcast.
            if isinstance(addend, fx.Node) and _shape(addend) == _shape(node):
                last, other = after, addend
        after = _only_user(last)
        relu = after is not None and _is_relu(after, modules)
        last = after if after is not None and relu else last
        name = f"fused_{count}"
        graph.add_module(name, _Convolution(conv, _shape(node.args[0]), relu=relu))
        with graph.graph.inserting_before(last):
            inputs = (node.args[0],) if other is None else (node.args[0], other)
            new = graph.graph.call_module(name, inputs)
        new.meta = dict(last.meta)
        last.replace_all_uses_with(new)
        count += 1
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return count


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shape(node: Any) -> list[int]:
    shape: list[int] = node.meta["shape"]
    return shape


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.target in _RELUS or (node.op == "call_method" and node.target in {"relu", "relu_"})


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)


def _same(network: nn.Module, other: nn.Module, sample: Tensor) -> bool:
    with torch.no_grad():
        expected, found = network(sample), other(sample)
    spread = (expected.amax(1) - expected.amin(1)).clamp_min(1e-12)[:, None]
    return bool(((expected - found).abs() <= _ROUNDING * spread).all())
