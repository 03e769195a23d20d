"""From what the user names to the candidates it may be: a file, a catalogue's name or a factory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.checkpoints import Contents, own_metadata, read_checkpoint
from robaudit.inputs.files.copies import FileCopy, exists
from robaudit.inputs.files.model_folders import CONFIG, read_model
from robaudit.inputs.files.saved import time_limits
from robaudit.inputs.files.several import averages_beside
from robaudit.inputs.files.state_dicts import choose_states, find_states
from robaudit.inputs.filling import as_float32, fill_factory
from robaudit.inputs.hubs import CATALOGUES, fetch
from robaudit.inputs.identity import class_structure
from robaudit.inputs.normalisation import Normalisation
from robaudit.inputs.programs import Shape, call_factory, is_factory, load_program, source_digest, with_logits
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.choice import ModelRequest
from robaudit.inputs.recovery.described import described
from robaudit.inputs.recovery.hugging_face import PREFIX, described_options
from robaudit.inputs.recovery.members import member_options, read_members
from robaudit.places import expanded
from robaudit.sandbox import in_child

#: Formats that are networks already; also the word for their architecture.
PROGRAMS = ("onnx", "torchscript", "pt2")


@dataclass(frozen=True)
class Found:
    """A model before its choice is made: what it may be, and what is known of it.

    Attributes:
        options: candidates, the likeliest first.
        stored: a normalisation that the file states.
        notes: sentences for the report.
        format: as in `ModelInfo`.
        sha256: as in `ModelInfo`.
        shape: (C, H, W) where it is known.
        structure: what is computed, of a network that code makes; empty where the architecture's text says it.
        averages: what `--key` takes for averages (EMA, SWA) of the same weights in the file.

    """

    options: list[Candidate]
    stored: Normalisation | None
    notes: list[str]
    format: str
    sha256: str
    shape: Shape | None
    structure: str = ""
    averages: list[str] = field(default_factory=list)


def find_model(source: str, request: ModelRequest) -> tuple[Found, ModelRequest]:
    """What `source` may be, and the request completed by what the file states of itself.

    Raises:
        RobauditError: it cannot be read or fits nothing.

    """
    path = expanded(source)
    if not exists(path):
        kind, _, name = source.partition(":")
        if kind in CATALOGUES and name:
            network, stored, notes, path_found = fetch(kind, name)
            if network is not None:
                return _ready(source, network, f"{kind} model", request, stored, notes), request
            assert path_found is not None
            found, request = find_model(str(path_found), request)
            return replace(found, notes=[*notes, *found.notes]), request
        if is_factory(source):
            return _ready(source, call_factory(source), "factory", request, None, []), request
    copy = read_model(path)
    try_first(copy, request)
    return find_in(read_checkpoint(copy), request)


#: What was tried already: the same bytes for the same request.
_SURVIVED: set[tuple[Any, ...]] = set()


def try_first(copy: FileCopy, request: ModelRequest, *, unknown: bool = False) -> None:
    """Read a file and call what it is once, in a child process: this one repeats only what the child survived.

    A user's own factory is not called there.

    Args:
        copy: the file.
        request: what is asked of it.
        unknown: whether a file that fits nothing is fine.

    Raises:
        RobauditError: as `find_in`, or the child did not survive.

    """
    asked = request.arch, request.normalise, request.key, request.image_shape, request.trust_program
    key = copy.sha256, copy.path.suffix, tuple(sorted(copy.beside.items())), *asked
    if key in _SURVIVED:
        return

    def look() -> None:
        contents = read_checkpoint(copy)
        if request.trust_program and contents.format == "torchscript":
            return  # whatever it does, the user wants it done
        try:
            if request.arch and is_factory(request.arch) and contents.format not in PROGRAMS:
                read_members(
                    list(choose_states(contents.tree, str(copy.path), request.key, whole=True)[0].values()),
                    copy.path,
                )
                return
            found, _ = find_in(contents, request)
        except RobauditError:
            if not unknown or contents.format in PROGRAMS:
                raise
            return
        network = assemble(found.options[0])
        if found.shape:
            with_logits(network, torch.rand(1, *found.shape), str(copy.path))

    in_child(str(copy.path), look, time_limits(copy))
    _SURVIVED.add(key)


def find_in(contents: Contents, request: ModelRequest) -> tuple[Found, ModelRequest]:
    """What a file may be that was read already, as `find_model`.

    Raises:
        RobauditError: it fits nothing.

    """
    if contents.format in PROGRAMS:
        return _program(contents, request), request
    return _states(contents, request)


def _ready(
    source: str,
    network: nn.Module,
    kind: str,
    request: ModelRequest,
    stored: Normalisation | None,
    notes: list[str],
) -> Found:
    """A network made by code, with the weights it came with."""
    shape, classes = request.image_shape, 0
    notes = [*notes, *as_float32(network)]
    if shape:
        found = with_logits(network, torch.rand(1, *shape), source, request.image_classes)
        network, classes, notes = found.network, found.classes, [*notes, *found.notes]
    side, channels = (shape[1], shape[0]) if shape else (0, len(stored.mean) if stored else 3)
    option, structure = _built(source, network, channels, side, classes), _structure(network, source)
    return Found([option], stored, notes, kind, sha256="", shape=shape, structure=structure)


def _built(name: str, network: nn.Module, channels: int, side: int, classes: int) -> Candidate:
    """A network that needs no tensors any more."""
    return Candidate(name, (), channels, side, classes, price=0.0, network=network)


def _structure(network: nn.Module, name: str) -> str:
    """What a network that code made computes: its classes, and the source of the user's own code."""
    code = source_digest(name) if name.partition(":")[0] not in CATALOGUES else ""
    return f"{code}\n{class_structure(network)}"


def _program(contents: Contents, request: ModelRequest) -> Found:
    kind = contents.format
    if request.arch not in (None, kind):
        raise RobauditError(
            f"--arch {request.arch}: {contents.path} is a {kind} program with its own; leave --arch out"
        )
    found = load_program(
        contents.copy,
        kind,
        request.image_shape,
        classes=request.image_classes,
        trusted=request.trust_program,
    )
    channels, side = (found.shape[0], found.shape[1]) if found.shape else (3, 0)
    option = _built(kind, found.network, channels, side, found.classes)
    return Found([option], None, list(found.notes), kind, contents.copy.sha256, found.shape)


def _states(contents: Contents, request: ModelRequest) -> tuple[Found, ModelRequest]:
    entry = own_metadata(contents)
    if entry and request.arch is None and is_factory(entry["architecture"]):
        raise RobauditError(
            f"{contents.path}: its metadata name code as its architecture ({entry['architecture'][:80]!r}), "
            "which is never run\npass --arch with a factory that you trust"
        )
    if entry:
        request = replace(
            request,
            arch=request.arch or entry["architecture"],
            normalise=request.normalise or entry["normalisation"],
        )
    by_code = bool(request.arch and is_factory(request.arch))
    chosen, aside = choose_states(contents.tree, str(contents.path), request.key, whole=by_code)
    averages = [] if request.key else averages_beside(next(iter(chosen)), find_states(contents.tree), aside)
    notes = [f"weights taken from {', '.join(chosen)}"] if any(chosen) else []
    if aside:
        notes.append(f"also in the file: {', '.join(name or '(top)' for name in aside[:8])}; --key chooses")
    shape = request.image_shape or (tuple(entry["input_shape"]) if entry else None)
    members = read_members(list(chosen.values()), contents.path)
    description = described(contents.copy) if not entry and len(members.states) == 1 else None
    structure = ""
    if request.arch and by_code:
        filled, inner = fill_factory(
            request.arch, next(iter(chosen.values())), shape, contents.path, request.image_classes
        )
        averages += inner
        channels, size = (shape[0], shape[1]) if shape else (3, 0)
        options = [_built(request.arch, filled.network, channels, size, filled.classes)]
        structure = _structure(assemble(options[0]), request.arch)
        notes += filled.notes
    elif description and description.known and request.arch in (None, f"{PREFIX}{description.kind}"):
        options, structure = described_options(
            description, members, request.arch, shape, contents.path, build=request.build
        )
        request = replace(request, arch=options[0].text)
    else:
        options = member_options(members, request.arch, shape, contents.path, build=request.build)
        if description and request.arch is None:
            notes.append(
                f"warning: {CONFIG} beside it is of a kind that is not known ({description.kind}); guessed by shapes"
            )
    stored = members.stored or (description.stored(options[0].in_channels) if description else None)
    side = options[0].image_size
    shape = shape or ((options[0].in_channels, side, side) if side else None)
    notes += members.notes
    digest = contents.copy.sha256
    return Found(
        options=options, stored=stored, notes=notes, format=contents.format, sha256=digest, shape=shape,
        structure=structure, averages=averages,
    ), request  # fmt: skip
