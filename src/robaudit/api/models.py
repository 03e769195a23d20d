"""An `nn.Module` as the `Classifier` that is audited: a copy, so that the module stays exactly as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.fast import generators
from robaudit.inputs import Classifier, ModelInfo, module_digest, parse_normalisation, with_logits

#: `ModelInfo.format` of what is not a file.
MODULE = "module"
#: What `load` gave out, and its digest at that time: as long as it is unchanged it is the file that it came from.
_loaded: WeakKeyDictionary[Classifier, str] = WeakKeyDictionary()


def remember(classifier: Classifier) -> Classifier:
    """The same, known from now on as what was read from its file."""
    _loaded[classifier] = module_digest(classifier)
    return classifier


def from_module(module: nn.Module, channels: int, normalise: str | None = None) -> Classifier:
    """A copy of `module`, ready to be audited.

    Args:
        module: from images in [0, 1], or normalised ones if `normalise` says so, to logits.
        channels: C of the images.
        normalise: as `--normalise`; nothing by default.

    Raises:
        RobauditError: it cannot be copied, or no such normalisation.

    """
    unchanged = isinstance(module, Classifier) and _loaded.get(module) == module_digest(module)
    network = _copied(_unwrapped(module))
    if isinstance(network, Classifier):
        if normalise not in (None, network.info.normalisation):
            raise RobauditError(
                f"normalise '{normalise}': the model normalises by {network.info.normalisation} itself; leave it out"
            )
        network.eval().requires_grad_(False)
        if not unchanged:
            found = module_digest(network)
            network.info = replace(network.info, sha256=found, digest=found, format=MODULE)
        return network
    norm = parse_normalisation(normalise or "none", channels)
    name = str(getattr(network, "original_name", type(network).__name__))  # as a scripted module remembers it
    found = module_digest(network, norm.text)
    info = ModelInfo(
        path=f"<{name}>",
        sha256=found,
        architecture=name,
        normalisation=norm.text,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        classes=0,
        input_shape=None,
        format=MODULE,
        digest=found,
    )
    return Classifier(network, norm, info)


def answer_with_logits(classifier: Classifier, x: torch.Tensor, classes: int) -> int:
    """Let a classifier answer with logits, whatever its module gives, and say how many.

    Args:
        classifier: changed where its module gives several outputs or one number.
        x: images (n, C, H, W).
        classes: of the images, by which the logits are told from other outputs; 0 where they do not say.

    Raises:
        RobauditError: it does not take such images, or gives nothing of the kind.

    """
    name = classifier.info.path
    at = next(classifier.parameters(), x).device
    with generators(0), torch.no_grad():
        found = with_logits(classifier.network, classifier.normalise(x.to(at)), name, classes)
    classifier.network = found.network
    classifier.info = replace(classifier.info, notes=(*classifier.info.notes, *found.notes))
    return found.classes


def _unwrapped(module: nn.Module) -> nn.Module:
    """The network inside what only distributes or compiles it."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _copied(module: nn.Module) -> nn.Module:
    try:
        network = copy.deepcopy(module)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RobauditError(
            f"<{type(module).__name__}>: cannot be copied ({reason:.160}); "
            "pass a factory that makes it, FILE.py:FUNCTION, instead"
        ) from error
    for parameter in network.parameters():
        parameter.grad = None
    return network
