"""`robaudit.check` and `robaudit.load`: what the commands of the same names do, for objects in memory too."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import nn

from robaudit.api.data import UNKNOWN, name_of, read, with_classes
from robaudit.api.models import answer_with_logits, from_module, remember
from robaudit.api.result import Result
from robaudit.api.settings import Settings, read_plan, read_settings, read_threat
from robaudit.audit import audit, default_evidence, progress_bars, with_helpers
from robaudit.datasets import usual_eps
from robaudit.devices import pick_device
from robaudit.errors import RobauditError
from robaudit.inputs import Classifier, Images, load_classifier, load_helpers
from robaudit.plan import HELPED, AuditPlan, Norm, parse_norm
from robaudit.verdict import Claim, judge, make_claim

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.data import DataLoader, Dataset

    Model = nn.Module | str | PathLike[str]
    Data = torch.Tensor | np.ndarray | Dataset[Any] | DataLoader[Any] | Images | str | PathLike[str]

#: A command in backticks, or a flag, perhaps with a number after it.
_FLAG = re.compile(r"`[^`]*`|--(?P<name>[a-z][a-z-]*[a-z])(?P<value> (?=\d))?")


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
    with in_python(), own_modes():
        made, claim = _planned(name_of(data), norm, eps, settings)
        device = usual_device(model, settings.get("device"))
        images, classifier = loaded(model, read(data, labels, settings, made.seed), settings)
        helpers = _helpers(images, settings)
        made = with_helpers(made, helpers)
        kept = _kept(model, classifier, images, settings, made)
        folder = None if kept else Path(tempfile.mkdtemp(prefix="robaudit-"))
        path = kept or folder / "audit.evidence"  # type: ignore[operator]
        watcher = settings.get("progress", False)
        try:
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
                    helpers=helpers,
                )
            result = Result(evidence, judge(evidence, claim), path, temporary=folder is not None)
        except BaseException:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    if folder:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    return result


def load(
    source: str | PathLike[str],
    *,
    dataset: Data | None = None,
    arch: str | None = None,
    normalise: str | None = None,
    key: str | None = None,
    device: str | torch.device | None = None,
    trust_program: bool = False,
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
        trust_program: run the code of a TorchScript file, with your rights, where it cannot be read as data.

    Returns:
        a frozen module in evaluation mode that normalises by itself. `info` says what it was found to be.

    Raises:
        TypeError: an argument of the wrong kind.
        RobauditError: the file cannot be read safely, fits no architecture, or is near chance on `dataset`.

    """
    if not isinstance(source, str | PathLike):
        raise TypeError(f"source is of type {type(source).__name__}; expected a path or the name of a model")
    with in_python(), own_modes():
        images = None if dataset is None else read(dataset, None, {}, 0)
        where = "cpu" if device is None else pick_device(str(device))
        settings = {"arch": arch, "normalise": normalise, "key": key, "trust_program": trust_program}
        return remember(_from_source(fspath(source), images, settings, where)[1])


def _planned(
    name: str, norm: str, eps: float | str | None, settings: dict[str, Any]
) -> tuple[AuditPlan, Claim | None]:
    """The plan on the data set `name`, and the claim to be judged."""
    try:
        usual = usual_eps(name, parse_norm(norm))
        plan = read_plan(read_threat(norm, eps, usual, name), settings)
        return plan, make_claim(settings.get("claim"), settings.get("claim_attack", "autoattack"), plan)
    except ValueError as error:
        raise RobauditError(str(error)) from error


def loaded(model: object, images: Images, settings: dict[str, Any]) -> tuple[Images, Classifier]:
    """The images and the classifier, which may tell how many classes there are."""
    if isinstance(model, str | PathLike):
        found, classifier = _from_source(fspath(model), images, settings, "cpu")
        assert found is not None
        return found, classifier
    if not isinstance(model, nn.Module):
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"of type {type(model).__name__}"
        raise TypeError(f"model is {kind}; expected an nn.Module instance, a path, or the name of a model")
    for name in ("arch", "key", "trust_program"):
        if name in settings:
            raise TypeError(f"{name}: is for a checkpoint; an nn.Module is what it is, leave it out")
    classifier = from_module(model, images.shape[0], settings.get("normalise"))
    known = 0 if images.classes == UNKNOWN else images.classes
    outputs = answer_with_logits(classifier, images.float(slice(0, 2)), known)
    classifier.info = replace(classifier.info, classes=outputs, input_shape=images.shape)
    return with_classes(images, outputs), classifier


def _from_source(
    source: str, images: Images | None, settings: dict[str, Any], device: str
) -> tuple[Images | None, Classifier]:
    """The classifier that a path or a name stands for, and the images with its number of classes."""
    reading: dict[str, Any] = {name: settings.get(name) for name in ("arch", "normalise", "key")}
    reading["trust_program"] = bool(settings.get("trust_program"))
    if images is not None and images.classes == UNKNOWN:  # a first look at the file tells
        known = load_classifier(source, shape=images.shape, **reading).info.classes
        images = with_classes(images, known or max(int(images.labels.max()) + 1, 2))
    reading["force"] = settings.get("force", False)
    return images, load_classifier(source, images=images, device=device, **reading)


def _helpers(images: Images, settings: dict[str, Any]) -> dict[str, nn.Module]:
    """The other models that attacks search with, by the names of their settings."""
    given = {name: settings[name] for name in HELPED if name in settings}
    modules = {name: value for name, value in given.items() if isinstance(value, nn.Module)}
    named = {name: fspath(value) for name, value in given.items() if name not in modules}
    trusted = bool(settings.get("trust_program"))
    found = load_helpers(images, named.get("surrogate"), named.get("transfer"), trust_program=trusted)
    return found | {name: from_module(value, images.shape[0]) for name, value in modules.items()}


def usual_device(model: object, wanted: str | torch.device | None) -> str:
    """The one that was named; else a module's own GPU, else as on the command line."""
    if wanted in (None, "auto") and isinstance(model, nn.Module):
        own = next(model.parameters(), torch.empty(0)).device
        if own.type != "cpu":
            return str(own)
    return pick_device(str(wanted or "auto"))


def _kept(
    model: object, classifier: Classifier, images: Images, settings: dict[str, Any], plan: AuditPlan
) -> Path | None:
    """Where the evidence is kept; None for a module's, which nobody would look for by a name."""
    if "evidence" in settings:
        place: Path = settings["evidence"]
        return place
    if isinstance(model, str | PathLike):
        return default_evidence(fspath(model), classifier.info, plan, images)
    return None


@contextmanager
def in_python() -> Iterator[None]:
    """Flags in messages under their names in Python; commands stay as they are."""
    try:
        yield
    except RobauditError as error:
        text = _FLAG.sub(_setting, str(error))
        if text == str(error):
            raise
        raise RobauditError(text) from error


@contextmanager
def own_modes() -> Iterator[None]:
    """Gradients and float32, whatever `no_grad`, `inference_mode` or `autocast` the caller stands in."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", torch.device(pick_device("auto")).type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _setting(flag: re.Match[str]) -> str:
    if not flag["name"]:
        return flag[0]
    name = flag["name"].replace("-", "_")
    return ("data" if name == "dataset" else name) + ("=" if flag["value"] else "")
