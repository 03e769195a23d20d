"""What else a file's layers may mean where all of them together are not a known network.

Files carry parts that prediction does not use (a second copy of a block, a projection head), a second set of
normalisations for adversarial examples (https://arxiv.org/abs/1911.09665), or several networks side by side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from robaudit.inputs.files.state_dicts import State
from robaudit.inputs.recovery.layers import ROLES, Layer

#: Parts that are tried to be left out, at most.
MOST_PARTS = 12

#: A module that is a loss, whatever holds it.
LOSS = re.compile(
    r"(?:\w+\.)*?(?:\w*_)?(?:criterion|criteria|loss|losses|loss_?f\w*)(?:_\w+)?\.", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Reduction:
    """A reading of a file that does without a part of it.

    Attributes:
        layers: what is left.
        note: what was left out, for the report.
        price: how unusual that is.
        alternative: the next reading is as good, and images choose between them.

    """

    layers: list[Layer]
    note: str
    price: float = 0.0
    alternative: bool = False


def reductions(layers: list[Layer]) -> Iterator[Reduction]:
    """Readings of a part of the layers, the likeliest first."""
    for which, part in enumerate(_one_of_two_norms(layers)):
        note = f"every normalisation is there twice; took the {('first', 'second')[which]}"
        yield Reduction(part, note, 0.5 * which, alternative=True)
    idle = {_last(layer) for layer in layers if layer.kind == "other"}
    if idle:
        rest = [layer for layer in layers if layer.kind not in ("other", "scale") or _last(layer) not in idle]
        yield Reduction(rest, f"left out tensors named {', '.join(sorted(idle))}, which are not a layer's")
    single = without_copies(layers)
    if len(single) < len(layers):
        yield Reduction(single, "left out what is there twice with the same numbers")
    parts = parts_of(layers)
    shapes = [shapes_of(part) for part in parts.values()]
    copies = {name for name, part in parts.items() if shapes.count(shapes_of(part)) > 1}
    later = list(parts)[:0:-1]  # the first part sees the images; of two copies the first is the one in use
    ordered = sorted(later, key=lambda name: 0 if name in copies else 1 + len(parts[name]))
    for name in ordered[:MOST_PARTS]:
        if len(parts) == 2 and (len(parts[name]) > 1 or parts[name][0].bias):
            continue  # half of a file is left out where it is a lone table only
        rest = [layer for layer in layers if layer not in parts[name]]
        yield Reduction(rest, f"left out {name}, which no known architecture with the rest uses", 1.0)


def without_copies(layers: list[Layer]) -> list[Layer]:
    """The layers but those that repeat an earlier one number by number.

    One module under two names, or a whole network that its attacker holds too, is saved twice.
    """
    kept: list[Layer] = []
    seen: set[object] = set()
    for layer in layers:
        key = _key(layer)
        if key is None or key not in seen:
            kept.append(layer)
        seen.add(key)
    return kept


def _key(layer: Layer) -> object:
    """What tells a layer's numbers from another's; None of a fresh normalisation, whose are all alike."""
    if not any(
        bool((tensor != tensor.flatten()[0]).any()) for tensor in layer.tensors.values() if tensor.numel() > 1
    ):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for role, tensor in sorted(layer.tensors.items()):
        digest.update(f"{role} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return layer.signature, digest.digest()


def _last(layer: Layer) -> str:
    return layer.name.rpartition(".")[2]


def shapes_of(layers: list[Layer]) -> list[object]:
    """Kinds and shapes of layers."""
    return [layer.signature for layer in layers]


def parts_of(layers: list[Layer]) -> dict[str, list[Layer]]:
    """Layers by the first part of their names that is not common to all."""
    names = [layer.name.split(".") for layer in layers]
    depth = 0
    while all(len(name) > depth + 1 for name in names) and len({name[depth] for name in names}) == 1:
        depth += 1
    parts: dict[str, list[Layer]] = {}
    for layer, name in zip(layers, names, strict=True):
        parts.setdefault(name[min(depth, len(name) - 1)], []).append(layer)
    return parts


def _one_of_two_norms(layers: list[Layer]) -> list[list[Layer]]:
    """Two readings where normalisations stand in pairs of one width: the first of each, and the second."""
    picked: tuple[list[Layer], list[Layer]] = ([], [])
    at = 0
    while at < len(layers):
        layer, following = layers[at], layers[at + 1 : at + 2]
        if layer.kind != "norm":
            pair = (layer, layer)
        elif following and following[0].kind == "norm" and following[0].shape == layer.shape:
            pair = (layer, following[0])
            at += 1
        else:
            return []
        for reading, chosen in zip(picked, pair, strict=True):
            reading.append(chosen)
        at += 1
    return list(picked) if any(layer.kind == "norm" for layer in layers) else []


def without_tables(state: State) -> tuple[State, list[str]]:
    """The tensors but rows of whole numbers and square tables without a layer's name, and the names of those.

    A confusion matrix that is kept beside a network, or a queue's place, has a shape that a layer might have.
    """
    named = [tensor for key, tensor in state.items() if key.endswith(".weight") and tensor.ndim == 2]
    heads = {int(tensor.shape[0]) for tensor in named}
    left = [
        key
        for key, tensor in state.items()
        if (tensor.ndim == 1 and not tensor.is_floating_point())
        or (tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1] in heads and not _names_a_layer(key))
    ]
    return {key: tensor for key, tensor in state.items() if key not in left}, left


def _names_a_layer(key: str) -> bool:
    """Whether a tensor's name ends as a layer's does: weight, kernel, w1, or a number."""
    last = key.rpartition(".")[2].lower()
    return last in ROLES or last.isdigit() or bool(re.search(r"(^|_)(weights?|kernel|w)_?\d*$", last))


def without_losses(state: State) -> tuple[State, list[str]]:
    """The tensors but the weights that a loss gives classes (`criterion.weight`), and the names of those.

    A loss with a matrix may be the last layer (ArcFace), and stays.
    """
    parts: dict[str, list[str]] = {}
    for key in state:
        if (match := LOSS.match(key)) and match.end() < len(key):
            parts.setdefault(match[0], []).append(key)
    left = [key for keys in parts.values() if all(state[key].ndim <= 1 for key in keys) for key in keys]
    return {key: tensor for key, tensor in state.items() if key not in left}, left


def side_by_side(state: State) -> list[State]:
    """The members of an ensemble in one state dict (`models.0.conv1.weight`, `models.1...`), or nothing.

    Each takes images and has the same tensors as the others.
    """
    members: dict[str, State] = {}
    for key, tensor in state.items():
        match = re.match(r"((?:[A-Za-z_]+\.)*?[A-Za-z_]*)(\d+)\.(.+)", key)
        if not match:
            return []
        members.setdefault(match[1] + match[2], {})[match[3]] = tensor
    signatures = {tuple((key, tuple(tensor.shape)) for key, tensor in m.items()) for m in members.values()}
    if len(members) < 2 or len(signatures) != 1:
        return []
    weights = [tensor for tensor in next(iter(members.values())).values() if tensor.ndim >= 2]
    takes_images = len(weights) > 1 and weights[0].ndim == 4 and weights[0].shape[1] in (1, 3)
    return list(members.values()) if takes_images else []
