"""A network whose convolutions take a batch norm, an addition and a ReLU along (`fused`; on the CPU `onednn`)."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from robaudit.fast.cudnn import CuDNNConvolution
from robaudit.fast.folding import ROUNDING, graph_of, same_answers, same_slopes
from robaudit.fast.fused import FusedConvolution
from robaudit.fast.onednn import OneDNNConvolution

#: What arithmetic may change, as a share of the logits' spread.
_TOLERATED = {torch.float32: ROUNDING, torch.bfloat16: 0.05, torch.float16: 0.02}

F = TypeVar("F")
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_RELUS = (torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_)


def fuse_convolutions(
    traced: fx.GraphModule, sample: Tensor, dtype: torch.dtype = torch.float32, least: int = 0
) -> fx.GraphModule | None:
    """A form, channels-last, whose weights get no gradient.

    Each convolution takes the addition of a shortcut and the ReLU that follow it along; on the CPU in the same pass
    over memory, its weights laid out once for oneDNN.

    Args:
        traced: the network, in float32.
        sample: (n, C, H, W) inputs on which both are compared, on the network's device.
        dtype: what the convolutions compute in. In bfloat16 the first, which would round the perturbation, and
            all that comes after the last, which would round the margin, stay in float32.
        least: multiply-adds of one example that the convolutions in another `dtype` than float32 must come to.

    Returns:
        None where this build of torch lacks an operator, or nothing would be gained.

    """

    def by(kind: type[FusedConvolution]) -> fx.GraphModule | None:
        fused = copy.deepcopy(traced)
        _Shapes(fused).run(sample.contiguous(memory_format=torch.channels_last))
        if not (_fuse(fused, kind) and _lowered(fused, dtype, least)):
            return None
        same = same_answers(traced, fused, sample, _TOLERATED[dtype])
        # In half precision derivatives differ by more; that they can be taken at all is known from float32.
        return fused if same and (dtype != torch.float32 or same_slopes(traced, fused, sample)) else None

    return _first_that_works(sample, by)


class LiveForm:
    """What `fuse_convolutions` gives of a network whose weights change: `refresh` takes them over anew.

    Shares the network's modules and stands in for it in evaluation mode, with parameters that get no gradient; so does
    its `graph`.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self._convolutions = [module for module in graph.modules() if isinstance(module, FusedConvolution)]

    def refresh(self) -> None:
        """Lay out the weights as they are now."""
        for convolution in self._convolutions:
            convolution.refresh()

    def __call__(self, x: Tensor) -> Tensor:
        """(n, C, H, W), channels-last, to logits (n, K)."""
        logits: Tensor = self.graph(x)
        return logits


def live_form(
    network: nn.Module, sample: Tensor, dtype: torch.dtype = torch.float32, least: int = 0
) -> LiveForm | None:
    """The fused form of a network in training, batch norms included; None where there is none or it answers otherwise.

    Args:
        network: in evaluation mode, float32 and channels-last.
        sample: (n, C, H, W) inputs on which both are compared, on the network's device.
        dtype: as for `fuse_convolutions`.
        least: as there.

    """

    def by(kind: type[FusedConvolution]) -> LiveForm | None:
        graph = graph_of(network)
        with torch.no_grad():
            _Shapes(graph).run(sample.contiguous(memory_format=torch.channels_last))
        if not (_fuse(graph, kind, norms=True) and _lowered(graph, dtype, least)):
            return None
        # Two sizes, for a graph may have taken the batch's for a constant.
        same = all(same_answers(network, graph, x, _TOLERATED[dtype]) for x in (sample, sample[:1]))
        return LiveForm(graph) if same else None

    return _first_that_works(sample, by)


class _Shapes(fx.Interpreter):
    """Notes the shape of every tensor in its node; torch's own `ShapeProp` takes seconds to import."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = list(result.shape) if isinstance(result, Tensor) else None
        return result


#: The fastest first; elsewhere torch's own operators.
_KINDS: dict[str, tuple[type[FusedConvolution], ...]] = {
    "cpu": (OneDNNConvolution,),
    "cuda": (CuDNNConvolution, FusedConvolution),
}


def _first_that_works(sample: Tensor, by: Callable[[type[FusedConvolution]], F | None]) -> F | None:
    for kind in _KINDS.get(sample.device.type, (FusedConvolution,)):
        try:
            form = by(kind)
        except Exception:  # torch calls these operators its own; they may be gone or differ
            continue
        if form is not None:
            return form
    return None


def _fuse(graph: fx.GraphModule, kind: type[FusedConvolution], *, norms: bool = False) -> int:
    """Replace the convolutions of `graph`, whose nodes carry their shapes, by such of `kind`; how many there were.

    With `norms` a batch norm that follows one is taken along too.
    """
    modules = dict(graph.named_modules())
    count = 0
    for node in list(graph.graph.nodes):
        conv = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            continue
        last, other, norm = node, None, None
        after = _only_user(node)
        if norms and after is not None and after.op == "call_module":
            following = modules[str(after.target)]
            if isinstance(following, nn.BatchNorm2d) and following.running_mean is not None:
                last, norm = after, following
        after = _only_user(last)
        if after is not None and after.op == "call_function" and after.target in _ADDITIONS:
            addend = next((arg for arg in after.args if arg is not last), None)
            # oneDNN does not broadcast.
            if isinstance(addend, fx.Node) and _shape(addend) == _shape(node):
                last, other = after, addend
        after = _only_user(last)
        relu = after is not None and _is_relu(after, modules)
        last = after if after is not None and relu else last
        name = f"fused_{count}"
        graph.add_module(name, kind(conv, norm, (_shape(node.args[0]), _shape(node)), relu=relu))
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


def _lowered(graph: fx.GraphModule, dtype: torch.dtype, least: int) -> bool:
    """Let the convolutions that have others before them compute in `dtype`; whether there is enough to gain."""
    if dtype == torch.float32:
        return True
    modules = dict(graph.named_modules())

    def found(
        nodes: list[fx.Node], neighbours: Callable[[fx.Node], Iterable[fx.Node]]
    ) -> dict[fx.Node, bool]:
        """Whether a convolution is met from each of `nodes`, which are in an order that allows to tell."""
        met: dict[fx.Node, bool] = {}
        for node in nodes:
            met[node] = any(_is_fused(other, modules) or met[other] for other in neighbours(node))
        return met

    nodes = list(graph.graph.nodes)
    before = found(nodes, lambda node: node.all_input_nodes)
    behind = found(nodes[::-1], lambda node: node.users)
    gained = 0
    for node in nodes:
        if not _is_fused(node, modules):
            continue
        layer = modules[str(node.target)]
        layer.dtype = dtype if before[node] else torch.float32
        layer.out_dtype = dtype if behind[node] else torch.float32
        layer.refresh()
        gained += before[node] * layer.multiplications
    return gained >= max(least, 1)


def _is_fused(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(modules[str(node.target)], FusedConvolution)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shape(node: Any) -> list[int]:
    shape: list[int] = node.meta["shape"]
    return shape


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.target in _RELUS or (node.op == "call_method" and node.target in {"relu", "relu_"})
