"""The state dicts inside a checkpoint's nested contents, and which one is the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.checkpoints import RESAVE
from robaudit.inputs.files.pickles import Inert, UnsafePickle, pickled_objects
from robaudit.inputs.files.plain_objects import Array
from robaudit.inputs.files.several import State, is_average, named_average, one_of, part_of, twins

__all__ = ["State", "choose_states", "find_states"]
#: Names of what is not the model.
SIDE = (
    "optim",
    "sched",
    "amp",
    "scaler",
    "rng",
    "args",
    "config",
    "hparam",
    "history",
    "loss",
    "buffer",
    "delta",
)
#: Names of the model, the likeliest first.
USUAL = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "classifier",
    "ema",
    "swa",
)
#: What FSDP, activation checkpointing and Lightning's strategies call what they wrap.
INSIDE = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
#: More nodes than any checkpoint's tree has; a tree that refers to itself has no end.
MOST_NODES = 200_000
#: Members of an ensemble.
MOST_MEMBERS = 100
#: Levels below which nobody keeps a state dict, and letters of a key that are shown.
MOST_LEVELS = 12
MOST_LETTERS = 200


def find_states(tree: Any) -> dict[str, State]:
    """State dicts by their path in the tree (`state_dict`, `state_dict.0`, empty for the tree itself).

    A list of averages of one of them is one too, under its names. Arrays of numpy's are tensors where there are none.
    """
    return _states_of(tree, arrays=False) or _states_of(tree, arrays=True)


def _states_of(tree: Any, *, arrays: bool) -> dict[str, State]:
    found: dict[str, State] = {}
    nameless: dict[str, list[torch.Tensor]] = {}
    for path, node in _nodes(tree):
        if isinstance(node, (list, tuple)) and node and is_average(path):
            tensors = [value for value in node if isinstance(value, torch.Tensor)]
            nameless |= {path: tensors} if len(tensors) == len(node) else {}
        if isinstance(node, Mapping):
            named = {key: value for key, value in node.items() if isinstance(key, str)}
            if arrays:
                named = {key: _as_tensor(value) for key, value in named.items()}
            state = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
            parts = path.lower().split(".")
            if any(word in part for part in parts for word in SIDE):
                continue
            if any(tensor.ndim >= 2 for tensor in state.values()):
                found[path] = unwrapped(state)
    averages = {path: named_average(tensors, found.values()) for path, tensors in nameless.items()}
    return found | {path: state for path, state in averages.items() if state}


def _as_tensor(value: Any) -> Any:
    """An array of floats as a tensor; everything else, and what is damaged, as it is."""
    if not isinstance(value, Array):
        return value
    try:
        array = value.array()
    except UnsafePickle:
        return value
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="))) if array.dtype.kind == "f" else value


def unwrapped(state: State) -> State:
    """The tensors without the parts of names that wrappers put anywhere into them, unless two names become one."""
    plain = {".".join(part for part in key.split(".") if part not in INSIDE): key for key in state}
    return {name: state[key] for name, key in plain.items()} if len(plain) == len(state) else state


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    """Dicts and lists of a tree with their paths, outermost first, each once and none deeper than any checkpoint's."""
    level: list[tuple[str, Any]] = [("", tree)]
    seen: set[int] = {id(tree)}
    count = 0
    for _ in range(MOST_LEVELS):
        below: list[tuple[str, Any]] = []
        for path, node in level:
            yield path, node
            for key, value in _items(node):
                count += 1
                if count > MOST_NODES:
                    return
                if isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
                    seen.add(id(value))
                    text = _part(key)
                    below.append((f"{path}.{text}" if path else text, value))
        level = below


def _items(node: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        return node.items()
    return enumerate(node) if isinstance(node, (list, tuple)) else ()


def _part(key: Any) -> str:
    """A key as part of a path, which a text and a number are, and nothing that may be long to write."""
    text = str(key) if isinstance(key, (str, int)) else type(key).__name__
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


def _rank(path: str) -> tuple[int, int]:
    last = [part for part in path.lower().split(".") if not part.isdigit()]
    name = last[-1] if last else ""
    order = USUAL.index(name) if name in USUAL else len(USUAL) + (name != "")
    return order, path.count(".")


def choose_states(
    tree: Any, path: str, key: str | None, *, whole: bool = False
) -> tuple[dict[str, State], list[str]]:
    """The model's state dict (several for an ensemble) by path, and the paths left aside.

    Args:
        tree: the file's contents.
        path: begins every error.
        key: the user's choice; what all names of a part of a state dict begin with will do.
        whole: no part of a state dict is chosen, though it holds several networks.

    Raises:
        RobauditError: none there, or `key` names none, or nothing tells which of several is meant.

    """
    found = find_states(tree)
    place, strange = _unsupported(tree)
    inside = any(not name or place == name or place.startswith(f"{name}.") for name in found)
    if strange and (inside or not found):
        raise RobauditError(f"{path}: {strange}; pass the plain float weights")
    if key is not None:
        state = found.get(key) or part_of(found, key)
        if not state:
            names = ", ".join(name or "(whole file)" for name in found) or "no state dict"
            raise RobauditError(f"--key {key}: not in {path}, which holds {names}")
        return {key: state}, [name for name in found if name != key]
    if not found:
        objects = pickled_objects(tree)
        if objects:
            raise RobauditError(
                f"{path}: holds whole pickled objects ({', '.join(objects)[:80]}), which are never unpickled; {RESAVE}"
            )
        raise RobauditError(f"{path}: holds no state dict (names with tensors); pass a model's checkpoint")
    ordered = sorted(found, key=_rank)
    best = ordered[0]
    peers = [name for name in found if _alike(found[best], found[name]) and _siblings(best, name)]
    chosen = peers if 1 < len(peers) <= MOST_MEMBERS and _rank(best)[0] >= len(USUAL) else [best]
    if len(chosen) == 1 and not whole and (inner := twins(found[best])):
        named = {f"{best}.{name}" if best else name: state for name, state in inner.items()}
        taken = one_of(named, path)
        return {taken: named[taken]}, [name for name in named if name != taken]
    rivals = {
        name: found[name] for name in ordered if _rank(name)[0] == _rank(best)[0] and _beside(best, name)
    }
    rivals = {name: state for name, state in rivals.items() if _alike(found[best], state)}
    if len(chosen) == 1 and len(rivals) > 1 and not whole:
        chosen = [one_of(rivals, path)]
    return {name: found[name] for name in chosen}, [name for name in found if name not in chosen]


def _beside(a: str, b: str) -> bool:
    """Whether two paths name parts of the same dictionary."""
    return a.rpartition(".")[0] == b.rpartition(".")[0]


def _unsupported(tree: Any) -> tuple[str, str]:
    """Where the first tensor of a kind that is not read stands, and a sentence about it; empty without one."""
    for place, node in _nodes(tree):
        if any(word in place.lower() for word in SIDE):
            continue
        for key, value in _items(node):
            if isinstance(value, Inert) and value.lacking:
                return place, f"its tensor '{_part(key)}' is {value.lacking}, which is not supported"
    return "", ""


def _alike(a: State, b: State) -> bool:
    return [(key, tensor.shape) for key, tensor in a.items()] == [
        (key, tensor.shape) for key, tensor in b.items()
    ]


def _siblings(a: str, b: str) -> bool:
    """Whether two paths differ in a number only, such as `model0` and `model1`."""
    strip = str.maketrans("", "", "0123456789")
    return a.translate(strip) == b.translate(strip)
