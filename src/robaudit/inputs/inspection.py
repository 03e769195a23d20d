"""What a file is, without a data set: `robaudit inspect`."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.checkpoints import Contents, read_checkpoint
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.files.model_folders import read_model
from robaudit.inputs.files.saved import time_limits
from robaudit.inputs.files.state_dicts import choose_states, find_states
from robaudit.inputs.networks import ARCHITECTURES, build_architecture
from robaudit.inputs.programs import is_factory
from robaudit.inputs.recovery.choice import ModelRequest
from robaudit.inputs.recovery.layers import Layer, chain_classes, input_channels, module_layers
from robaudit.inputs.recovery.matching import difference
from robaudit.inputs.recovery.members import read_members
from robaudit.inputs.sources import PROGRAMS, find_in, try_first
from robaudit.places import expanded
from robaudit.sandbox import in_child

#: Tensors, entries and candidates shown at most.
MOST_SHOWN = 12
#: Names of torchvision's networks with another stem, which take seconds to import, and less than their layers.
TORCHVISIONS = ("googlenet-3x3", "inception_v3-3x3", "shufflenetv2-")
LEAST_TORCHVISION_LAYERS = 50
#: Layers of the longest file that a known architecture can come near; the longest of these has 311.
MOST_LAYERS = 400


@dataclass(frozen=True)
class Inspection:
    """What is known of a model file.

    Attributes:
        path: as given.
        sha256: of the file.
        size: bytes.
        format: as in `ModelInfo`.
        states: state dicts by path, with the number of tensors of each.
        chosen: the paths that make the model.
        tensors: (name, shape, type) of the model's tensors.
        parameters: learned numbers of the model.
        architectures: texts that fit, the likeliest first.
        nearest: known architectures that do not fit, and how they differ; only where none fits.
        classes: outputs; 0 where unknown.
        input_shape: (C, H, W) where it is known or guessed.
        normalisation: as found in the file; empty where there is none.
        entries: what else the file carries, as (path, text): epoch, accuracy, arguments, optimiser.
        notes: sentences.

    """

    path: str
    sha256: str
    size: int
    format: str
    states: tuple[tuple[str, int], ...]
    chosen: tuple[str, ...]
    tensors: tuple[tuple[str, tuple[int, ...], str], ...]
    parameters: int
    architectures: tuple[str, ...]
    nearest: tuple[tuple[str, str], ...]
    classes: int
    input_shape: tuple[int, int, int] | None
    normalisation: str
    entries: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def inspect_checkpoint(
    source: str, *, arch: str | None = None, key: str | None = None, trust_program: bool = False
) -> Inspection:
    """Say what a file is. What it is called or known as by others' packages is only named, unless the user names it.

    Args:
        source: its path.
        arch: an architecture to compare it with.
        key: which of several state dicts in it.
        trust_program: as `load_classifier`.

    Raises:
        RobauditError: no such file, or one that cannot be read safely.

    """
    copy, request = (
        read_model(expanded(source)),
        ModelRequest(arch=arch, key=key, trust_program=trust_program, build=arch is not None),
    )
    if arch and is_factory(arch):  # the user's own code is not for the child
        try_first(copy, request, unknown=True)
        return _inspect(source, copy, request)
    parts = in_child(source, lambda: vars(_inspect(source, copy, request)), time_limits(copy))
    return Inspection(**{name: _as_tuples(value) for name, value in parts.items()})


def _as_tuples(value: Any) -> Any:
    """A child's lists as the tuples that they were."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _inspect(source: str, copy: FileCopy, request: ModelRequest) -> Inspection:
    """What a file is, by reading it in this process."""
    contents, path = read_checkpoint(copy), copy.path
    if contents.format in PROGRAMS:
        return _program(source, contents, request)
    chosen, _ = choose_states(contents.tree, source, request.key, whole=True)
    members = read_members(list(chosen.values()), path)
    tensors = [item for state in chosen.values() for item in state.items()]
    nearest: tuple[tuple[str, str], ...] = ()
    try:
        found, _ = find_in(contents, request)
        specs = tuple(dict.fromkeys(option.text for option in found.options))
        classes, shape, notes = found.options[0].classes, found.shape, tuple(found.notes)
    except RobauditError as error:
        specs, classes, shape, notes = (
            (),
            chain_classes(members.layers[0]),
            None,
            (*members.notes, str(error)),
        )
        nearest = _nearest(members.layers[0])
    return Inspection(
        path=source,
        sha256=contents.copy.sha256,
        size=len(contents.copy),
        format=contents.format,
        states=tuple((name, len(state)) for name, state in find_states(contents.tree).items()),
        chosen=tuple(chosen),
        tensors=tuple((name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors),
        parameters=sum(t.numel() for member in members.layers for layer in member for t in _learned(layer)),
        architectures=specs[:MOST_SHOWN],
        nearest=nearest,
        classes=classes,
        input_shape=shape,
        normalisation=members.stored.text if members.stored else "",
        entries=tuple(_entries(contents.tree)) + tuple(contents.metadata.items()),
        notes=notes,
    )


def _program(source: str, contents: Contents, request: ModelRequest) -> Inspection:
    found, _ = find_in(contents, request)
    network = found.options[0].network
    assert network is not None
    tensors = list(network.state_dict().items())
    return Inspection(
        path=source,
        sha256=found.sha256,
        size=len(contents.copy),
        format=found.format,
        states=(),
        chosen=(),
        tensors=tuple((name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors),
        parameters=sum(p.numel() for p in network.parameters()),
        architectures=(found.options[0].text,),
        nearest=(),
        classes=found.options[0].classes,
        input_shape=found.shape,
        normalisation="",
        entries=(),
        notes=tuple(found.notes),
    )


def _learned(layer: Layer) -> list[torch.Tensor]:
    return [tensor for role, tensor in layer.tensors.items() if role in ("weight", "bias")]


def _entries(tree: Any, path: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Plain values of a tree, and the sizes of its other parts."""
    found: list[tuple[str, str]] = []
    if not isinstance(tree, Mapping) or depth > 1:
        return found
    for key, value in list(tree.items())[:200]:
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, (numbers.Number, str)):
            found.append((name, str(value)[:80]))
        elif isinstance(value, Mapping) and any(isinstance(part, torch.Tensor) for part in value.values()):
            continue
        elif isinstance(value, Mapping):
            found.append((name, f"{len(value)} entries"))
            found += _entries(value, name, depth + 1)
        elif isinstance(value, (list, tuple)):
            found.append((name, f"list of {len(value)}"))
    return found[: 4 * MOST_SHOWN]


def _nearest(layers: list[Layer]) -> tuple[tuple[str, str], ...]:
    """Known architectures that share most layers with the file, and the first difference of each."""
    if len(layers) > MOST_LAYERS:
        return ()
    shapes = [(layer.kind, layer.shape) for layer in layers]
    scored = []
    for name in ARCHITECTURES:
        if name.startswith(TORCHVISIONS) and len(layers) < LEAST_TORCHVISION_LAYERS:
            continue
        for side in (32, 28):
            try:
                with torch.device("meta"):
                    network = build_architecture(
                        name,
                        classes=chain_classes(layers) or 10,
                        in_channels=input_channels(layers) or 3,
                        image_size=side,
                    )
            except RobauditError:
                continue
            own = module_layers(network)
            common = len(set(shapes) & {(layer.kind, layer.shape) for layer in own})
            scored.append((common / max(len(set(shapes)), 1) - 0.01 * abs(len(own) - len(layers)), name, own))
            break
    best = sorted(scored, key=lambda item: -item[0])[:3]
    return tuple((name, difference(own, layers)) for _, name, own in best)
