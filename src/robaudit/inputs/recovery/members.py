"""The state dicts of a model (one, or several for an ensemble) as layers, and what they may be together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.files.quantised import check_scales
from robaudit.inputs.files.state_dicts import State
from robaudit.inputs.networks.families import EnsemblePlan
from robaudit.inputs.normalisation import Normalisation, stored_normalisation
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.catalogue import catalogue_options
from robaudit.inputs.recovery.layers import Layer, input_channels, read_layers
from robaudit.inputs.recovery.matching import candidates, drop_batches, named_candidate
from robaudit.inputs.recovery.reductions import reductions, side_by_side, without_losses, without_tables
from robaudit.inputs.recovery.special import without_spare

#: More layers than any published classifier has.
MOST_LAYERS = 20_000
#: Letters of a tensor's name.
MOST_LETTERS = 500
#: Layers up to which a file that fits nothing is read without some of its parts; no known network has more.
MOST_REDUCED_LAYERS = 1500
#: Parts of names that PyTorch's training for quantisation adds.
_PREPARED = ("fake_quant", "activation_post_process")


@dataclass(frozen=True, eq=False)
class Members:
    """Tensors and layers of each member, the normalisation that the file stores, sentences for the report."""

    states: list[State]
    layers: list[list[Layer]]
    stored: Normalisation | None
    notes: list[str]


def read_members(states: list[State], path: Path) -> Members:
    """The layers of each state dict.

    Raises:
        RobauditError: values that are not finite, or more tensors than a classifier has.

    """
    notes: list[str] = []
    members, rests = [], []
    stored: Normalisation | None = None
    if len(states) == 1 and (several := side_by_side(states[0])):
        notes.append(f"{len(several)} networks side by side in one state dict, taken as an ensemble")
        states = several
    for state in states:
        if len(state) > MOST_LAYERS:
            raise RobauditError(
                f"{path}: holds {len(state):,} tensors, more than any classifier; pass another checkpoint"
            )
        for name, tensor in state.items():
            if len(name) > MOST_LETTERS:
                raise RobauditError(
                    f"{path}: a tensor's name has {len(name):,} letters; pass another checkpoint"
                )
            if tensor.is_floating_point() and not (
                _observes(name) or torch.isfinite(_computable(tensor)).all()
            ):
                raise RobauditError(
                    f"{path}: {name} holds NaN or infinite values; pass a checkpoint that did not diverge"
                )
            if _whole_numbers(name, tensor):
                raise RobauditError(
                    f"{path}: {name} holds whole numbers ({str(tensor.dtype).removeprefix('torch.')}), of a quantised "
                    "network; pass the plain float weights"
                )
            if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
                raise RobauditError(
                    f"{path}: {name} is {tensor.dtype} ({tensor.layout}); pass plain float weights"
                )
        try:
            check_scales(state)
        except RobauditError as error:
            raise RobauditError(f"{path}: {error}") from error
        kept = _of_layers(state, notes)
        layers = read_layers(kept)
        stored, rest = stored_normalisation(kept, input_channels(layers) or 1)
        layers, images = drop_batches(layers if rest is kept else read_layers(rest))
        if images:
            notes.append(f"ignored stored images: {', '.join(images)}")
        used = without_spare(layers)
        if len(used) < len(layers):
            notes.append("left out sub_block1, which such networks define and never run")
        members.append(used)
        rests.append(rest)
    return Members(rests, members, stored, notes)


def _of_layers(state: State, notes: list[str]) -> State:
    """The tensors that may be a layer's; what others are left out is added to `notes`."""
    kept, tables = without_tables(state)
    if tables:
        notes.append(f"left out {', '.join(tables[:4])}, which are no layer's")
    kept, losses = without_losses(kept)
    if losses:
        notes.append(f"left out {', '.join(losses[:4])}, of the loss that it was trained with")
    return kept


def _computable(tensor: torch.Tensor) -> torch.Tensor:
    """Numbers of a type that PyTorch only stores, as ones that it computes with."""
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def _whole_numbers(name: str, tensor: torch.Tensor) -> bool:
    """Whether these are weights as a quantised network has them, and no table of places."""
    if tensor.ndim < 2 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        return False
    return tensor.dtype == torch.int8 or "weight" in name.rpartition(".")[2]


def member_options(
    members: Members, arch: str | None, shape: tuple[int, int, int] | None, path: Path, *, build: bool = True
) -> list[Candidate]:
    """Candidates for all members together, the likeliest first; those of catalogues only named unless `build`.

    Raises:
        RobauditError: nothing fits, or the images have other channels.

    """
    first = members.layers[0]
    head = f"ensemble:{len(members.layers)}*"
    named = arch.removeprefix(head) if arch else None
    try:
        options = _one_member(members, named, shape, build) or _reduced(members, named, shape)
    except RobauditError:
        options = _reduced(members, named, shape)
        if not options:
            raise
    if not options:
        channels = input_channels(first)
        if shape and channels not in (None, shape[0]):
            raise RobauditError(
                f"{path}: takes images of {channels} channels, the data set has {shape[0]}; pass its own --dataset"
            )
        if any(map(_observes, members.states[0])):
            raise RobauditError(
                f"{path}: is of a network prepared for quantisation; pass the plain float weights, or --arch "
                "FILE.py:FACTORY"
            )
        if arch:
            raise RobauditError(
                f"--arch {arch}: {path} does not fit it; leave --arch out or name another (robaudit inspect shows why)"
            )
        raise RobauditError(
            f"{path}: fits no known architecture; pass --arch NAME or FILE.py:FACTORY (robaudit inspect shows why)"
        )
    if len(members.layers) == 1:
        return options
    names = [{layer.name: layer for layer in member} for member in members.layers]
    together = [
        replace(
            option,
            plan=EnsemblePlan(len(members.layers), option.plan),
            layers=tuple(by[layer.name] for by in names for layer in option.layers),
        )
        for option in options
        if option.network is None  # a catalogue's holds the first member's tensors only
    ]
    if not together:
        raise RobauditError(f"{path}: holds {len(names)} networks of {options[0].text}; --key chooses one")
    return together


def _observes(name: str) -> bool:
    """Whether a tensor is of an observer of training for quantisation; before it saw anything it holds infinity."""
    return any(word in name for word in _PREPARED)


def _from_a_fit(options: list[Candidate]) -> list[Candidate]:
    """The candidates from the first on that the tensors go into: what was read of shapes is a guess."""
    for start, option in enumerate(options):
        try:
            assemble(option)
        except RobauditError:
            continue
        return options[start:]
    return []


def _reduced(members: Members, arch: str | None, shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Candidates that do without a part of the file; what is left out is added to the members' notes."""
    found: list[Candidate] = []
    for part in reductions(members.layers[0]) if len(members.layers[0]) <= MOST_REDUCED_LAYERS else ():
        try:
            options = [named_candidate(arch, part.layers, shape)] if arch else candidates(part.layers, shape)
        except RobauditError:
            continue
        if options:
            members.notes.append(f"warning: {part.note}")
            found += [replace(option, price=option.price + part.price) for option in options]
        if found and not part.alternative:
            break
    return _from_a_fit(sorted(found, key=lambda option: option.price))


def _one_member(
    members: Members, arch: str | None, shape: tuple[int, int, int] | None, build: bool
) -> list[Candidate]:
    """Candidates for the first state dict: the named one, or those of its shapes and of the catalogues."""
    state, layers = members.states[0], members.layers[0]
    if arch is None:
        ours, others = candidates(layers, shape), catalogue_options(state, layers, shape, build=build)
        if not build:
            return [*others, *_from_a_fit(ours)]
        return _from_a_fit(sorted([*ours, *others], key=lambda option: option.price))
    if arch.startswith(("torchvision:", "timm:")):
        return catalogue_options(state, layers, shape, only=arch, build=build, notes=members.notes)
    return [named_candidate(arch, layers, shape)]
