"""A user's network, made by a factory, with a file's tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.several import State, is_average, one_of, put_in
from robaudit.inputs.programs import Loaded, Shape, call_factory, with_logits

#: What wrappers put into names, wherever they stand: `torch.compile`, `DataParallel`.
WRAPPERS = ("_orig_mod.", "module.")
#: What files of old versions lack, and no answer depends on.
IDLE = "num_batches_tracked"


def fill_factory(
    arch: str, state: State, shape: Shape | None, path: Path, classes: int = 0
) -> tuple[Loaded, list[str]]:
    """The network of a factory with the tensors of those names, whatever stands before all of them.

    What stands before averages of them is given too, for `--key`.

    Args:
        arch: the factory.
        state: the file's tensors.
        shape: (C, H, W) of the images, None where it is not known.
        path: begins every error.
        classes: of the images, 0 where it is not known.

    Raises:
        RobauditError: they do not fit, or the file holds several such networks.

    """
    network = call_factory(arch)
    own = network.state_dict()
    found = fitting(own, state)
    if not found:
        raise RobauditError(f"{path}: does not fit {arch}: {_difference(own, state)}; pass its own factory")
    names = {prefix.rstrip("."): prefix for prefix in found}
    taken = "" if "" in found else names[one_of({name: found[names[name]] for name in names}, str(path))]
    put_in(network, found[taken])
    averages = [name for name in names if is_average(name) and names[name] != taken]
    notes = tuple(as_float32(network))
    if shape is None:
        return Loaded(network, None, notes=notes), averages
    loaded = with_logits(network, torch.rand(1, *shape), arch, classes)
    return replace(loaded, notes=notes + loaded.notes), averages


def fitting(own: State, state: State) -> dict[str, State]:
    """By what stands before their names, the tensors that fit a network's own, in the order of the file."""
    plain = {key: key for key in state}
    for key in state:
        for wrappers in (WRAPPERS[:1], WRAPPERS[1:], WRAPPERS):
            plain.setdefault(_without(wrappers, key), key)
    wanted = [key for key in own if not key.endswith(IDLE)] or list(own)
    prefixes = dict.fromkeys(
        key.removesuffix(wanted[0]) for key in plain if key == wanted[0] or key.endswith(f".{wanted[0]}")
    )
    found = {}
    for prefix in sorted(prefixes, key=lambda prefix: (prefix != "", list(prefixes).index(prefix))):
        chosen = {key: state[plain[prefix + key]] for key in own if prefix + key in plain}
        if chosen.keys() >= set(wanted) and all(
            own[key].shape == value.shape for key, value in chosen.items()
        ):
            found[prefix] = chosen
    return _once(found)


def _without(wrappers: tuple[str, ...], key: str) -> str:
    """A name without what wrappers put into it, at the beginning or after a full stop."""
    for wrapper in wrappers:
        key = f".{key}".replace(f".{wrapper}", ".").removeprefix(".")
    return key


def _once(found: dict[str, State]) -> dict[str, State]:
    """Each set of tensors under the first of its names."""
    kept: dict[tuple[int, ...], str] = {}
    for prefix, state in found.items():
        kept.setdefault(tuple(map(id, state.values())), prefix)
    return {prefix: found[prefix] for prefix in kept.values()}


def _difference(own: State, state: State) -> str:
    """The first of a network's tensors that the file has not."""
    for key, tensor in own.items():
        there = next((name for name in state if name == key or name.endswith(f".{key}")), None)
        if there is None:
            return f"there is no {key}"
        if state[there].shape != tensor.shape:
            return f"{there} is {tuple(state[there].shape)}, the network's {tuple(tensor.shape)}"
    return "names or shapes differ"


def as_float32(network: nn.Module) -> list[str]:
    """Make a network's numbers float32, in which everything is audited; a sentence where they were not."""
    kinds = {
        str(tensor.dtype).removeprefix("torch.")
        for tensor in (*network.parameters(), *network.buffers())
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    }
    if not kinds or isinstance(network, torch.jit.ScriptModule):
        return []
    network.float()
    return [f"its {', '.join(sorted(kinds))} weights are audited in float32"]
