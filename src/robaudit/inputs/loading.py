"""From what the user names to a `Classifier`: the one way in for models."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from robaudit.errors import RobauditError
from robaudit.inputs.candidates import Candidate, assemble
from robaudit.inputs.checkpoints import Contents, file_sha256, own_metadata, read_checkpoint
from robaudit.inputs.classifier import Classifier, ModelInfo
from robaudit.inputs.images import Images
from robaudit.inputs.layers import Layer, State, read_layers
from robaudit.inputs.matching import candidates, drop_batches, input_channels, named_candidate
from robaudit.inputs.normalisation import (
    Normalisation,
    parse_normalisation,
    stored_normalisation,
    usual_normalisations,
)
from robaudit.inputs.selection import Choice, choose, near_chance


@dataclass(frozen=True)
class Wishes:
    """What the user said about the model; None where nothing.

    Attributes:
        arch: `--arch`.
        normalise: `--normalise`.
        key: `--key`.
        images: labelled images to choose by.
        device: where to compute.
        force: load even what is right no more often than chance.

    """

    arch: str | None = None
    normalise: str | None = None
    key: str | None = None
    images: Images | None = None
    device: str = "cpu"
    force: bool = False


def load_classifier(
    source: str,
    *,
    arch: str | None = None,
    normalise: str | None = None,
    key: str | None = None,
    images: Images | None = None,
    device: str | torch.device = "cpu",
    force: bool = False,
) -> Classifier:
    """A model from a file, ready to be audited.

    Args:
        source: a checkpoint's path.
        arch: architecture, as `build_architecture` takes it; recovered from the file's tensors otherwise.
        normalise: as `parse_normalisation` takes it; found in the file or by clean accuracy otherwise.
        key: which of several state dicts in the file.
        images: labelled images to choose by; without them the likeliest architecture is taken, and no
            normalisation unless the file has one.
        device: where the classifier goes.
        force: return a model that is right no more often than chance instead of refusing it.

    Returns:
        A `Classifier`; `info.architecture` and `info.normalisation` given back as `arch` and `normalise`
        make the same one.

    Raises:
        RobauditError: the file cannot be read safely, fits no architecture, or is near chance.

    """
    wishes = Wishes(arch, normalise, key, images, str(device), force)
    path = Path(source).expanduser()
    contents = read_checkpoint(path)
    return _from_states(source, contents, wishes).to(device)


def _members(contents: Contents, wishes: Wishes) -> tuple[list[State], list[str]]:
    """The state dicts that make the model, and notes on what was left aside."""
    from robaudit.inputs.states import choose_states  # noqa: PLC0415

    chosen, aside = choose_states(contents.tree, str(contents.path), wishes.key)
    notes = []
    if [name for name in chosen if name]:
        notes.append(f"weights taken from {', '.join(chosen)}")
    if aside:
        notes.append(f"also in the file: {', '.join(name or '(top)' for name in aside[:8])}; --key chooses")
    return list(chosen.values()), notes


def _from_states(source: str, contents: Contents, wishes: Wishes) -> Classifier:
    entry = own_metadata(contents)
    if entry:
        wishes = replace(
            wishes,
            arch=wishes.arch or entry.get("architecture"),
            normalise=wishes.normalise or entry.get("normalisation"),
        )
    states, notes = _members(contents, wishes)
    shape = (
        wishes.images.shape
        if wishes.images
        else tuple(entry["input_shape"])
        if "input_shape" in entry
        else None
    )
    layers, stored, found = _read_members(states, contents.path)
    notes += found
    options = _options(layers, wishes, shape, contents.path)
    channels = options[0].in_channels
    norms, how = _normalisations(wishes, stored, channels)
    choice, told = _decide(options, norms, wishes, str(contents.path))
    network = copy.deepcopy(assemble(choice.candidate))  # its own memory, not the file's
    info = ModelInfo(
        path=source,
        sha256=file_sha256(contents.path),
        architecture=choice.candidate.spec,
        normalisation=choice.normalisation.text,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        classes=choice.candidate.classes,
        input_shape=shape or (channels, choice.candidate.image_size, choice.candidate.image_size),
        format=contents.format,
        notes=(*notes, *how, *told),
    )
    return Classifier(network, choice.normalisation, info)


def _read_members(
    states: list[State], path: Path
) -> tuple[list[list[Layer]], Normalisation | None, list[str]]:
    """Layers of each member, the normalisation in the file if any, notes."""
    notes: list[str] = []
    members = []
    normalisation: Normalisation | None = None
    for state in states:
        for name, tensor in state.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise RobauditError(
                    f"{path}: {name} holds NaN or infinite values; the training diverged, pass another checkpoint"
                )
        channels = input_channels(read_layers(state)) or 1
        normalisation, rest = stored_normalisation(state, channels)
        layers, stored = drop_batches(read_layers(rest))
        if stored:
            notes.append(f"ignored stored images: {', '.join(stored)}")
        members.append(layers)
    return members, normalisation, notes


def _options(
    members: list[list[Layer]], wishes: Wishes, shape: tuple[int, int, int] | None, path: Path
) -> list[Candidate]:
    """Candidates for all members together, the likeliest first."""
    first = members[0]
    count = len(members)
    head = f"ensemble:{count}*"
    if wishes.arch:
        options = [named_candidate(wishes.arch.removeprefix(head), first, shape)]
    else:
        options = candidates(first, shape)
    if not options:
        channels = input_channels(first)
        if shape and channels not in (None, shape[0]):
            raise RobauditError(
                f"{path}: takes images of {channels} channels, the data set has {shape[0]}; pass its own --dataset"
            )
        raise RobauditError(
            f"{path}: fits no known architecture; pass --arch NAME or --arch FILE.py:FACTORY (robaudit inspect shows its tensors)"
        )
    if wishes.images and options[0].classes != wishes.images.classes:
        raise RobauditError(
            f"{path}: has {options[0].classes} classes, {wishes.images.name} has {wishes.images.classes}; pass the right --dataset"
        )
    if count == 1:
        return options
    names = [{layer.name: layer for layer in member} for member in members]
    return [
        replace(
            option,
            spec=head + option.spec,
            layers=tuple(by[layer.name] for by in names for layer in option.layers),
        )
        for option in options
    ]


def _normalisations(
    wishes: Wishes, stored: Normalisation | None, channels: int
) -> tuple[list[Normalisation], list[str]]:
    """What may stand before the network, and how that is known."""
    if wishes.normalise:
        return [parse_normalisation(wishes.normalise, channels)], []
    if stored:
        return [stored], [f"normalisation {stored.text} is stored in the file"]
    if wishes.images:
        return usual_normalisations(wishes.images.name, channels), []
    return [parse_normalisation("none", channels)], [
        "no normalisation in the file and no images to choose by: none used; --normalise sets one"
    ]


def _decide(
    options: list[Candidate], norms: list[Normalisation], wishes: Wishes, path: str
) -> tuple[Choice, list[str]]:
    if wishes.images is None:
        return Choice(options[0], norms[0], torch.zeros(0, dtype=torch.bool)), []
    choices = choose(options, norms, wishes.images, wishes.device)
    best = choices[0]
    count = len(best.right)
    if near_chance(best.accuracy, wishes.images.classes, count) and not wishes.force:
        tried = "; ".join(
            f"{c.candidate.spec[:60]} with {c.normalisation.text[:40]} {c.accuracy:.0%}" for c in choices[:3]
        )
        raise RobauditError(
            f"{path}: clean accuracy {best.accuracy:.1%} on {count} images is near chance (tried {tried})\n"
            "pass the right --dataset, --arch or --normalise, or --force to go on"
        )
    return best, _told(choices, norms)


def _told(choices: list[Choice], norms: list[Normalisation]) -> list[str]:
    """How the choice was made, in sentences."""
    best = choices[0]
    count = len(best.right)
    notes = [f"clean accuracy {best.accuracy:.1%} on {count} images"]
    same = [c for c in choices[1:] if c.candidate.spec == best.candidate.spec]
    other = [c for c in choices[1:] if c.candidate.spec != best.candidate.spec]
    if len(norms) > 1 and same:
        rival = same[0]
        notes.append(
            f"normalisation {best.normalisation.text} chosen by clean accuracy: {best.accuracy:.1%}, "
            f"next {rival.normalisation.text} {rival.accuracy:.1%}"
        )
        if best.accuracy - rival.accuracy < 0.01:
            notes.append("warning: a close call between normalisations; --normalise settles it")
    if other:
        rival = other[0]
        notes.append(
            f"architecture {best.candidate.spec} chosen by clean accuracy: {best.accuracy:.1%}, "
            f"next {rival.candidate.spec} with {rival.accuracy:.1%} on {len(rival.right)}"
        )
    return notes
