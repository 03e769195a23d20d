"""What a network computes before its last softmax: behind it gradients vanish that are there before it.

Softmax, log-softmax and sigmoid keep the order of the logits, so what they are taken of has the same answers.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from robaudit.fast.folding import graph_of

_LAST: dict[Any, str] = (
    dict.fromkeys((nn.Softmax, F.softmax, torch.softmax, "softmax"), "softmax")
    | dict.fromkeys((nn.LogSoftmax, F.log_softmax, torch.log_softmax, "log_softmax"), "log-softmax")
    | dict.fromkeys((nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid", nn.LogSigmoid, F.logsigmoid), "sigmoid")
)
#: Of one tensor, and increasing.
_INCREASING = {
    nn.Tanh, torch.tanh, "tanh", torch.exp, "exp", torch.log, "log", torch.clamp, "clamp", "clamp_min", "clamp_max",
    "clip", "float", "contiguous", "to", torch.gt, "gt", operator.gt, torch.ge, "ge", operator.ge, torch.round, "round",
}  # fmt: skip
#: Of a tensor and a number, and increasing where this says so of the number, and whether it may come first.
_WITH_NUMBER: dict[Any, tuple[bool, bool]] = (
    dict.fromkeys((operator.mul, torch.mul, "mul", "multiply"), (True, True))
    | dict.fromkeys((operator.truediv, torch.div, "div", "divide"), (True, False))
    | dict.fromkeys((operator.add, torch.add, "add"), (False, True))
    | dict.fromkeys((operator.sub, torch.sub, "sub"), (False, False))
)
#: What moves numbers without changing them.
_MOVING = {
    nn.Flatten,
    torch.flatten,
    "flatten",
    "reshape",
    "view",
    torch.reshape,
    torch.squeeze,
    "squeeze",
    nn.Identity,
}


def before_softmax(network: nn.Module, sample: Tensor) -> tuple[nn.Module, str] | None:
    """A copy of a network without its last softmax, log-softmax or sigmoid, and without what only scales beside it.

    Args:
        network: from inputs (n, C, H, W) to answers (n, K).
        sample: inputs on which both must answer alike.

    Returns:
        The copy and the name of what is left out; None where there is nothing of the kind or the operations are not
        known.

    """
    bare = copy.deepcopy(network)
    owner, graph = _graph_within(bare)
    name = graph and _strip(graph)
    if not graph or not name:
        return None
    if owner is None:
        bare = graph
    else:
        setattr(owner, str(owner.answers_with), graph)
    bare.eval().requires_grad_(False)
    return (bare, name) if _same_order(network, bare, sample) else None


def _graph_within(network: nn.Module) -> tuple[nn.Module | None, fx.GraphModule | None]:
    """The graph of a network, or of the part whose answer it passes on, with what that is a part of."""
    owner = None
    while True:
        try:
            return owner, graph_of(network)
        except Exception:
            name = getattr(network, "answers_with", None)
            if not isinstance(name, str):
                return None, None
            owner, network = network, getattr(network, name)


def _strip(graph: fx.GraphModule) -> str:
    """Leave out what keeps the order, from the end on, if a softmax or sigmoid is among it; its name."""
    (end,) = (node for node in graph.graph.nodes if node.op == "output")
    found, left_out, node = "", [], end.args[0]
    while isinstance(node, fx.Node):
        kind = type(graph.get_submodule(str(node.target))) if node.op == "call_module" else node.target
        inputs = [used for used in node.all_input_nodes if used.op != "get_attr"]
        if len(inputs) != 1 or node.op == "placeholder":
            break
        if kind in _LAST and _over_classes(graph, node):
            found = found or _LAST[kind]
        elif kind not in _MOVING and kind not in _INCREASING and not _increases(graph, kind, node):
            break
        if kind not in _MOVING:
            left_out.append((node, inputs[0]))
        node = inputs[0]
    if found:
        for each, before in left_out:
            each.replace_all_uses_with(before)
        graph.graph.eliminate_dead_code()
        graph.delete_all_unused_submodules()
        graph.recompile()
    return found


def _over_classes(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a softmax is over the classes; a sigmoid is over nothing."""
    module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, (nn.Softmax, nn.LogSoftmax)):
        return module.dim in {1, -1}
    if module is not None or _LAST[node.target] == "sigmoid":
        return True
    return (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")) in {1, -1}


def _increases(graph: fx.GraphModule, kind: Any, node: fx.Node) -> bool:
    if kind not in _WITH_NUMBER or len(node.args) != 2 or node.kwargs:
        return False
    positive, either = _WITH_NUMBER[kind]
    first, second = (_number(graph, arg) for arg in node.args)
    number = second if second is not None else first if either else None
    return number is not None and (number > 0 or not positive)


def _number(graph: fx.GraphModule, arg: Any) -> float | None:
    if isinstance(arg, fx.Node):
        arg = operator.attrgetter(str(arg.target))(graph) if arg.op == "get_attr" else None
        arg = arg.item() if isinstance(arg, Tensor) and arg.numel() == 1 else None
    return float(arg) if isinstance(arg, (int, float)) else None


def _same_order(network: nn.Module, bare: nn.Module, sample: Tensor) -> bool:
    """Whether the largest number of each answer is at the same place, or level with it."""
    with torch.no_grad():
        answers, before = network(sample), bare(sample)
    if answers.shape != before.shape:
        return False
    chosen = answers.gather(1, before.argmax(1, keepdim=True)).squeeze(1)
    return bool((answers.amax(1) - chosen <= 1e-6).all())
