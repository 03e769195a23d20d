"""From what the user names to a `Classifier`: the one way in for models."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.averages import better_average
from robaudit.inputs.classifier import Classifier, ModelInfo
from robaudit.inputs.data.images import Images
from robaudit.inputs.identity import network_digest, program_digest
from robaudit.inputs.programs import ONE_OUTPUT, Shape, is_factory
from robaudit.inputs.recovery.candidates import assemble
from robaudit.inputs.recovery.choice import ModelRequest, decide, normalisations_to_try
from robaudit.inputs.sources import PROGRAMS, Found, find_model


def load_classifier(  # noqa: PLR0913  one model; all but the first by keyword
    source: str,
    *,
    arch: str | None = None,
    normalise: str | None = None,
    key: str | None = None,
    images: Images | None = None,
    device: str | torch.device = "cpu",
    force: bool = False,
    shape: Shape | None = None,
    classes: int = 0,
    trust_program: bool = False,
) -> Classifier:
    """A model, ready to be audited.

    Args:
        source: a checkpoint's path; `FILE.py:FACTORY` or `package.module:FACTORY`; `torchvision:NAME`,
            `timm:NAME`, `hf:OWNER/NAME` or `robustbench:NAME[:DATASET[:THREAT]]`.
        arch: architecture, as `build_architecture` takes it, or a factory; recovered from the file's
            tensors otherwise.
        normalise: as `parse_normalisation` takes it; found in the file or by clean accuracy otherwise.
        key: which of several state dicts in the file.
        images: labelled images to choose by; without them the likeliest architecture is taken, and no
            normalisation unless the file has one.
        device: where the classifier goes.
        force: return a model that is right no more often than chance instead of refusing it.
        shape: (C, H, W) of the images where none are given: a file of bare tensors seldom tells it.
        classes: their classes, likewise; by them the logits of a program are told from its other outputs.
        trust_program: run the code of a TorchScript file, with the rights of this process, where it cannot be read as
            data. Only whoever calls can say so, never a file.

    Returns:
        A `Classifier`; `info.architecture` and `info.normalisation` given back as `arch` and `normalise`
        make the same one.

    Raises:
        RobauditError: the file cannot be read safely, fits no architecture, or is near chance.

    """
    request = ModelRequest(
        arch=arch,
        normalise=normalise,
        key=key,
        images=images,
        device=str(device),
        force=force,
        shape=shape,
        classes=classes,
        trust_program=trust_program,
    )
    found, request = find_model(source, request)
    first = found.options[0]
    if images is not None and first.classes:
        _check_classes(source, max(first.classes, 2), images)
    if first.classes == 1:
        found.notes.append(ONE_OUTPUT)
    norms, how = normalisations_to_try(request, found.stored, first.in_channels)
    choice, chosen = decide(found.options, norms, request, source)
    network = copy.deepcopy(assemble(choice.candidate))  # its own memory, not the file's
    info = ModelInfo(
        path=source,
        sha256=found.sha256,
        architecture=choice.candidate.text,
        normalisation=choice.normalisation.text,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        classes=2 if choice.candidate.classes == 1 else choice.candidate.classes,
        input_shape=found.shape,
        format=found.format,
        notes=(*found.notes, *(images.notes if images else ()), *how, *chosen),
        key=request.key or "",
    )
    classifier = Classifier(network, choice.normalisation, info)
    classifier.info = replace(info, digest=_digest(classifier, found))
    classifier = classifier.to(device)
    if not (found.averages and images):
        return classifier

    def load(name: str) -> Classifier:
        return load_classifier(
            source,
            arch=info.architecture,
            normalise=info.normalisation,
            key=name,
            device=device,
            shape=images.shape,
            classes=images.classes,
        )

    best, notes = better_average(classifier, found.averages, load, images)
    best.info = replace(best.info, notes=(*best.info.notes, *notes))
    return best


def load_helpers(
    images: Images, surrogate: str | None, transfer: str | None, *, trust_program: bool = False
) -> dict[str, nn.Module]:
    """The models that `--surrogate` and `--transfer` name, by the attack that searches with each.

    Args:
        images: as for `load_classifier`.
        surrogate: `FILE.py:FACTORY`, a differentiable stand-in from images in [0, 1] to logits.
        transfer: another checkpoint, as `load_classifier` takes it.
        trust_program: as for `load_classifier`, of the other checkpoint.

    Raises:
        RobauditError: one cannot be loaded.

    """
    found: dict[str, nn.Module] = {}
    if surrogate is not None:
        if not is_factory(surrogate):
            raise RobauditError(
                f"surrogate '{surrogate}': expected FILE.py:FACTORY or package.module:FACTORY"
            )
        found["surrogate"] = load_classifier(surrogate, images=images, normalise="none", force=True)
    if transfer is not None:
        found["transfer"] = load_classifier(transfer, images=images, trust_program=trust_program)
    return found


def _check_classes(source: str, classes: int, images: Images) -> None:
    """Nothing, unless the images have classes that the network has no answer for.

    Raises:
        RobauditError: they have.

    """
    if images.classes <= classes:
        return
    hint = "pass the right --dataset"
    if images.classes == classes + 1 and int(images.labels.min()) == 1:
        hint = f"its labels run from 1 to {classes}: subtract 1"
    raise RobauditError(f"{source}: has {classes} classes, {images.name} has {images.classes}; {hint}")


def _digest(classifier: Classifier, found: Found) -> str:
    info = classifier.info
    if found.format in PROGRAMS:
        return program_digest(found.sha256, info.normalisation)
    return network_digest(classifier.network, found.structure or info.architecture, info.normalisation)
