"""A graph of functions as a graph of PyTorch's own layers: what folds, fuses and lays out weights looks for those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from robaudit.inputs.programs.recording import Recording

_Maker = Callable[..., nn.Module | None]


def graph_module(recording: Recording) -> fx.GraphModule:
    """The recorded graph, in evaluation mode, with layers where it has their functions, on the constants' memory."""
    builder = _Builder(recording)
    for node in list(recording.graph.nodes):
        builder.replace(node)
    return builder.finished()


def _convolution(kind: type[nn.Module]) -> _Maker:
    def make(
        weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> nn.Module:
        sizes = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
        return kind(*sizes, stride, padding, dilation, groups, bias=bias is not None, device="meta")

    return make


def _batch_norm(  # noqa: PLR0913
    running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5, *, ndim: int,
) -> nn.Module | None:  # fmt: skip
    if training or running_mean is None:
        return None
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[ndim]
    return kind(len(running_mean), eps, momentum)


def _linear(weight: Any, bias: Any = None) -> nn.Module | None:
    return nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")


def _layer_norm(shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> nn.Module:
    return nn.LayerNorm(tuple(shape), eps)


def _group_norm(groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> nn.Module | None:
    return None if weight is None else nn.GroupNorm(groups, len(weight), eps)


def _softmax(
    dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, *, log: bool = False
) -> nn.Module | None:
    if dtype is not None or dim is None:
        return None
    return nn.LogSoftmax(dim) if log else nn.Softmax(dim)


def _max_pool(
    size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, **_: Any
) -> nn.Module:
    return nn.MaxPool2d(size, stride or None, padding, dilation, ceil_mode=ceil_mode)


#: From functions to what makes their layer of all arguments but the first. None: there is no layer for them.
LAYERS: dict[Any, _Maker] = {
    torch.conv1d: _convolution(nn.Conv1d),
    torch.conv2d: _convolution(nn.Conv2d),
    torch.conv3d: _convolution(nn.Conv3d),
    F.batch_norm: _batch_norm,
    F.linear: _linear,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.relu: lambda **_: nn.ReLU(),
    torch.relu: nn.ReLU,
    F.relu6: lambda **_: nn.ReLU6(),
    F.gelu: nn.GELU,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.softmax: _softmax,
    F.log_softmax: lambda *args, **named: _softmax(*args, log=True, **named),
}
_NAMES = {nn.ReLU: "relu", nn.Linear: "linear", nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}
#: The parameters and buffers that the functions' arguments are.
_WEIGHTS = ("weight", "bias", "running_mean", "running_var")
_ORDER: dict[Any, tuple[str, ...]] = {
    F.batch_norm: ("running_mean", "running_var", "weight", "bias"),
    F.layer_norm: ("", "weight", "bias"),
    F.group_norm: ("", "weight", "bias"),
}


class _Builder:
    def __init__(self, recording: Recording) -> None:
        self.graph, self.tensors = recording.graph, recording.tensors
        self.root = nn.Module()
        self.count = 0
        self.parameters: dict[int, nn.Parameter] = {}

    def replace(self, node: fx.Node) -> None:
        """A layer in place of a node's function, where there is one and its weights are constants."""
        make = LAYERS.get(node.target) if node.op == "call_function" else None
        if make is None or not node.args or not isinstance(node.args[0], fx.Node):
            return
        rest = (node.args[1:], node.kwargs)
        found: list[fx.Node] = []
        map_aggregate(rest, lambda arg: found.append(arg) if isinstance(arg, fx.Node) else None)
        if any(other.op != "get_attr" for other in found):
            return
        args, named = map_aggregate(rest, self._constant)
        if node.target is F.batch_norm:
            named = {**named, "ndim": node.args[0].meta["example"].ndim}
        layer = make(*args, **named)
        if layer is None:
            return
        names = _ORDER.get(node.target, ("weight", "bias"))
        self._fill(layer, dict(zip(names, args, strict=False)) | named)
        name = f"{_NAMES.get(type(layer)) or type(layer).__name__.lower()}_{self.count}"
        self.count += 1
        self.root.add_module(name, layer)
        with self.graph.inserting_before(node):
            new = self.graph.call_module(name, (node.args[0],))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)

    def finished(self) -> fx.GraphModule:
        """The graph with the constants that are left."""
        self.graph.eliminate_dead_code(lambda node: node.op in {"placeholder", "output"})
        for node in self.graph.nodes:
            if node.op == "get_attr" and not hasattr(self.root, node.target):
                tensor = self.tensors[node.target]
                learned = tensor.is_floating_point() and tensor.numel() > 1
                setattr(self.root, node.target, self._parameter(tensor) if learned else nn.Buffer(tensor))
            node.meta.clear()
        return fx.GraphModule(self.root, self.graph, "Program").eval()

    def _constant(self, arg: Any) -> Any:
        return self.tensors[str(arg.target)] if isinstance(arg, fx.Node) else arg

    def _fill(self, layer: nn.Module, given: dict[str, Any]) -> None:
        for name in _WEIGHTS:
            if not hasattr(layer, name):
                continue
            tensor = given.get(name)
            if name in layer._buffers:
                layer.register_buffer(name, tensor)
            else:
                layer.register_parameter(name, None if tensor is None else self._parameter(tensor))

    def _parameter(self, tensor: Tensor) -> nn.Parameter:
        """One parameter for each tensor, however often it is used."""
        if id(tensor) not in self.parameters:
            self.parameters[id(tensor)] = nn.Parameter(tensor, requires_grad=False)
        return self.parameters[id(tensor)]
