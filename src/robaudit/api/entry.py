"""`robaudit.check` and `robaudit.load`: what the commands of the same names do, for objects in memory too."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import nn

from robaudit.api.data import Samples, name_of, read
from robaudit.api.models import MODULE, count_outputs, from_module, remember
from robaudit.api.result import Result, judged
from robaudit.api.settings import Settings, read_plan, read_settings, read_threat
from robaudit.audit import audit, default_evidence, progress_bars
from robaudit.datasets import usual_eps
from robaudit.devices import pick_device
from robaudit.errors import RobauditError
from robaudit.inputs import Classifier, Images, load_classifier
from robaudit.plan import AuditPlan, Norm
from robaudit.verdict import make_claim

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.data import DataLoader, Dataset

    Model = nn.Module | str | PathLike[str]
    Data = torch.Tensor | np.ndarray | Dataset[Any] | DataLoader[Any] | Images | str | PathLike[str]

_FLAG = re.compile(r"--([a-z][a-z-]*[a-z])( (?=\d))?")


def check(
    model: Model,
    data: Data,
    labels: torch.Tensor | np.ndarray | list[int] | None = None,
    *,
    norm: Norm = "Linf",
    eps: float | str | None = None,
    **plan: Unpack[Settings],
) -> Result:
    """Say whether the robustness of a model is overestimated, with evidence.

    The same as `robaudit check`: the same audit, the same defaults, and for the same images the same outcomes.

    Args:
        model: an `nn.Module` from images in [0, 1] to logits (N, K), which is left exactly as it was (a copy is
            audited, in evaluation mode and float32); or what the command takes: a checkpoint's path,
            `FILE.py:FACTORY`, `torchvision:NAME` and so on.
        data: images (N, C, H, W), a tensor or an array, float in [0, 1] or uint8 (also (N, H, W, C)), before any
            normalisation; a `Dataset` of (image, label); a `DataLoader`; or a data set's name or path.
        labels: (N,) class indices for a tensor or an array; None otherwise.
        norm: Linf or L2.
        eps: radius in [0, 1] pixel units, as a number or as text (8/255); by default the data set's usual one.
        plan: settings under the names of the command's flags, see `Settings`.

    Returns:
        the `Result`. An interrupted audit is resumed by the same call if the evidence is kept: it is for a file (in
        the cache folder) and wherever `evidence` names a place.

    Raises:
        TypeError: an unknown setting, or an argument of the wrong kind.
        RobauditError: a bad value, bad images or labels, or a model that cannot be audited.

    """
    settings = read_settings(plan)
    with _in_python():
        name = name_of(data)
        made = read_plan(read_threat(norm, eps, usual_eps(name, norm), name), settings)
        claim = make_claim(settings.get("claim"), settings.get("claim_attack", "autoattack"), made)
        device = _device(model, settings.get("device", "auto"))
        images, classifier = _loaded(model, read(data, labels, settings, made.seed), settings, made)
        path, folder = _place(model, classifier, images, settings, made)
        watcher = settings.get("progress", False)
        with progress_bars(quiet=watcher is not True) as bars:
            evidence = audit(
                classifier,
                images.subset(made.limit, made.seed),
                made,
                path=path,
                device=device,
                progress=bars if isinstance(watcher, bool) else watcher,
                force=settings.get("force", False),
                claim=claim,
            )
        return judged(evidence, claim, path, folder)


def load(
    source: str | PathLike[str],
    *,
    dataset: Data | None = None,
    arch: str | None = None,
    normalise: str | None = None,
    key: str | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """A model from whatever `robaudit check` takes, ready to use: from images in [0, 1] to logits.

    Args:
        source: a checkpoint's path, `FILE.py:FACTORY`, `torchvision:NAME`, `timm:NAME`, `hf:OWNER/NAME` and so on.
        dataset: labelled images, as for `check`; they serve only to choose between readings of the file (which
            architecture, which normalisation) by clean accuracy. Without them the likeliest architecture is taken, and
            no normalisation unless the file states one.
        arch: the architecture, as `--arch`.
        normalise: the normalisation, as `--normalise`.
        key: which model of a file that holds several.
        device: where the model goes; the CPU by default.

    Returns:
        a frozen module in evaluation mode that normalises by itself. `info` says what it was found to be.

    Raises:
        TypeError: an argument of the wrong kind.
        RobauditError: the file cannot be read safely, fits no architecture, or is near chance on `dataset`.

    """
    if not isinstance(source, str | PathLike):
        raise TypeError(f"source is of type {type(source).__name__}; expected a path or the name of a model")
    with _in_python():
        settings: dict[str, Any] = {"arch": arch, "normalise": normalise, "key": key}
        images = None
        if dataset is not None:
            found = read(dataset, None, {}, 0)
            images = found if isinstance(found, Images) else _counted(fspath(source), found, settings, 0)
        where = "cpu" if device is None else pick_device(str(device))
        return remember(load_classifier(fspath(source), images=images, device=where, **settings))


def _loaded(
    model: object, found: Images | Samples, settings: dict[str, Any], plan: AuditPlan
) -> tuple[Images, Classifier]:
    """The images and the classifier, each of which may tell how many classes there are."""
    reading: dict[str, Any] = {name: settings.get(name) for name in ("arch", "normalise", "key")}
    if not isinstance(model, nn.Module):
        if not isinstance(model, str | PathLike):
            kind = (
                f"the class {model.__name__}"
                if isinstance(model, type)
                else f"of type {type(model).__name__}"
            )
            raise TypeError(
                f"model is {kind}; expected an nn.Module instance, a path, or the name of a model"
            )
        source = fspath(model)
        images = found if isinstance(found, Images) else _counted(source, found, reading, plan.seed)
        return images, load_classifier(source, images=images, force=settings.get("force", False), **reading)
    for name in ("arch", "key"):
        if name in settings:
            raise TypeError(f"{name}: is for a checkpoint; an nn.Module is what it is, leave it out")
    first = found.images(found.classes or 2**31, plan.seed) if isinstance(found, Samples) else found
    classifier = from_module(model, first.shape[0], settings.get("normalise"))
    outputs = count_outputs(classifier, first.float(slice(0, 2)))
    classifier.info = replace(classifier.info, classes=outputs, input_shape=first.shape)
    return found.images(found.classes or outputs, plan.seed) if isinstance(
        found, Samples
    ) else found, classifier


def _counted(source: str, found: Samples, reading: dict[str, Any], seed: int) -> Images:
    """The images, with the classes that the model of `source` has where the data do not say."""
    classes = found.classes
    if not classes:
        checked = found.images(2**31, seed)
        known = load_classifier(source, shape=checked.shape, **reading).info.classes
        classes = known or max(int(found.labels.max()) + 1, 2)
    return found.images(classes, seed)


def _device(model: object, wanted: str) -> str:
    """The one that was named; else a module's own GPU, else as on the command line."""
    if wanted == "auto" and isinstance(model, nn.Module):
        own = next(model.parameters(), torch.empty(0)).device
        if own.type != "cpu":
            return str(own)
    return pick_device(wanted)


def _place(
    model: object, classifier: Classifier, images: Images, settings: dict[str, Any], plan: AuditPlan
) -> tuple[Path, Any]:
    """Where the evidence goes, and the temporary folder that it lies in, if it does.

    What a module computes cannot be told from its tensors, so its evidence is never taken for another's by itself.
    """
    if "evidence" in settings:
        return settings["evidence"], None
    if not isinstance(model, nn.Module) and classifier.info.sha256 and classifier.info.format != MODULE:
        return default_evidence(fspath(model), classifier.info, plan, images), None  # type: ignore[call-overload]
    folder = tempfile.TemporaryDirectory(prefix="robaudit-")
    return Path(folder.name) / "audit.evidence", folder


@contextmanager
def _in_python() -> Iterator[None]:
    """Bad values as `RobauditError`, and flags in messages under their names in Python."""
    try:
        yield
    except (RobauditError, ValueError) as error:
        text = _FLAG.sub(lambda m: m[1].replace("-", "_") + ("=" if m[2] else ""), str(error))
        if isinstance(error, RobauditError) and text == str(error):
            raise
        raise RobauditError(text) from error
