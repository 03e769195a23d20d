"""Several networks of the same shapes in one file: which is meant, and which are averages of another."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn

from robaudit.errors import RobauditError

State = dict[str, torch.Tensor]
#: Names of weights that are averages of those beside them.
AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averag|avg|moving|shadow)|_ema|_swa|_avg", re.IGNORECASE)
#: What wrappers put before all names.
WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")

#: Tensors of a state dict that are not parameters.
BUFFER = re.compile(r"(running_mean|running_var|num_batches_tracked)$")


def is_average(name: str) -> bool:
    """Whether weights of this name are averages: exponential ones, of the last epochs, a mean teacher's."""
    return bool(AVERAGED.search(name))


def one_of(networks: dict[str, State], path: str) -> str:
    """The name of the only one that is not an average of the others, or of the first where all are the same.

    Raises:
        RobauditError: there are more of them, and nothing tells which is meant.

    """
    plain = [name for name in networks if not is_average(name)] or list(networks)
    first = networks[plain[0]]
    if all(same_numbers(first, networks[name]) for name in plain):
        return plain[0]
    raise RobauditError(
        f"{path}: holds {len(networks)} networks of the same shapes ({', '.join(networks)}); --key chooses one"
    )


def part_of(found: dict[str, State], key: str) -> State:
    """The tensors of a state dict whose path and names begin with `key`, under the rest of their names."""
    start = f"{key}."
    for name, state in found.items():
        before = f"{name}." if name else ""
        for ahead in (before, ""):
            part = {
                full.removeprefix(start): tensor
                for inner, tensor in state.items()
                if (full := ahead + inner).startswith(start)
            }
            if any(tensor.ndim >= 2 for tensor in part.values()):
                return part
    return {}


def twins(state: State) -> dict[str, State]:
    """Networks of the same shapes, each under a name of its own (`net.*`, `proxy.*`), that a state dict holds.

    Numbered ones are the members of an ensemble. Parts of one network are not networks, as these take images. Empty
    where there are no two.
    """
    names = [key.split(".") for key in state]
    depth = 0
    while names and all(len(n) > depth + 1 for n in names) and len({n[depth] for n in names}) == 1:
        depth += 1
    parts: dict[str, State] = {}
    for name, tensor in zip(names, state.values(), strict=True):
        inner = WRAPPERS.sub("", ".".join(name[depth + 1 :]))
        parts.setdefault(".".join(name[: depth + 1]), {})[inner] = tensor
    networks = {name: part for name, part in parts.items() if _takes_images(part)}
    rest = [tensor for name, part in parts.items() if name not in networks for tensor in part.values()]
    if any(tensor.ndim >= 2 for tensor in rest) or any(name[-1].isdigit() for name in networks):
        return {}
    shapes = [_shapes(part) for part in networks.values()]
    return networks if len(networks) > 1 and all(each == shapes[0] for each in shapes) else {}


def _takes_images(state: State) -> bool:
    """Whether these may be all the tensors of a network: several weights, the first for grey or colour images."""
    weights = [tensor for tensor in state.values() if tensor.ndim >= 2]
    return len(weights) > 1 and weights[0].ndim == 4 and weights[0].shape[1] in (1, 3)


def averages_beside(taken: str, found: dict[str, State], aside: list[str]) -> list[str]:
    """Of what is left aside, what is an average (EMA, SWA) of the state dict `taken`, by name and shapes.

    Args:
        taken: its path, or what all names of a part of a state dict begin with.
        found: all state dicts of the file by path.
        aside: paths, likewise.

    """
    if is_average(taken):
        return []
    wanted = _shapes(found.get(taken) or part_of(found, taken))
    return [
        name
        for name in aside
        if is_average(name) and _shapes(found.get(name) or part_of(found, name)) == wanted
    ]


def named_average(tensors: list[torch.Tensor], states: Iterable[State]) -> State:
    """A list of averaged parameters under the names of the state dict that has them, its buffers beside them.

    As `torch_ema` and score-based models write averages: `shadow_params`, in the order of `parameters()`. Empty where
    no state dict has such parameters in this order.
    """
    shapes = [tensor.shape for tensor in tensors]
    for state in states:
        names = [name for name in state if not BUFFER.search(name)]
        if [state[name].shape for name in names] == shapes:
            return state | dict(zip(names, tensors, strict=True))
    return {}


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    """Shapes by name, without what wrappers put before all names, and without counters."""
    return {WRAPPERS.sub("", key): tuple(tensor.shape) for key, tensor in state.items() if tensor.ndim}


def put_in(network: nn.Module, state: State) -> None:
    """Load a state dict of a network's names, as one that this version of its code wrote.

    Some code asks which version did, and that stands beside the tensors, where a file's reader does not look.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=False)


def same_numbers(one: State, other: State) -> bool:
    """Whether two state dicts of the same names hold the same numbers."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
