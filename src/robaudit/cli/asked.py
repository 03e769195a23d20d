"""What the flags name, as far as their text alone tells whether it can be: asked before torch is imported."""

from __future__ import annotations

import importlib.util
import re

from robaudit.architectures import no_such_architecture
from robaudit.cli.common import exists
from robaudit.datasets import DATASETS
from robaudit.errors import RobauditError
from robaudit.factory_names import CATALOGUES, is_factory, is_fetched
from robaudit.preprocessing import crop_sizes, means_and_deviations
from robaudit.spelling import meant, meant_path, unknown

#: Words of `--normalise`, and how many channels those are for that are not any's.
_WAYS = ("none", "per-image", "imagenet", *DATASETS)
_CHANNELS = {"imagenet": 3} | {name: spec.shape[0] for name, spec in DATASETS.items()}
#: The package of the unmodified reference.
_REFERENCE = "pyautoattack"


def check_engine(engine: str, **helpers: str | None) -> None:
    """Nothing, if the engine is here and has the attacks that other models are for.

    Args:
        engine: what `--engine` says.
        helpers: by flag, the other model; None where there is none.

    Raises:
        RobauditError: it is not, or has not.

    """
    if engine != "reference":
        return
    for flag, model in helpers.items():
        if model is not None:
            raise RobauditError(
                f"--{flag} {model}: the reference engine has no such attack; leave out --{flag} or --engine"
            )
    if importlib.util.find_spec(_REFERENCE) is None:
        raise RobauditError(f"--engine reference: needs the {_REFERENCE} package; pip install {_REFERENCE}")


def check_present(*models: str) -> None:
    """Nothing, if these may be models: a path that exists, a catalogue's name, or a factory whose file is there.

    Raises:
        RobauditError: one cannot be.

    """
    for model in models:
        if exists(model) or is_fetched(model):
            continue
        if is_factory(model):
            _check_factory(model, model)
            continue
        kind, colon, _ = model.partition(":")
        if colon and kind in CATALOGUES:
            raise RobauditError(f"{model} names no model; write it as {kind}:NAME")
        raise RobauditError(
            f"{model}: no such file or directory{meant_path(model)}; pass a checkpoint's path"
        )


def check_structure(arch: str | None, normalise: str | None, dataset: str | None = None) -> None:
    """Nothing, if these may be an architecture and a normalisation for images of `dataset`.

    Raises:
        RobauditError: no such name, no such file of a factory, or numbers that fit no images of the data set.

    """
    reason = no_such_architecture(arch) if arch else ""
    if reason:
        raise RobauditError(f"--arch {reason}")
    if arch:
        _check_factory(arch, f"--arch {arch}")
    if normalise is not None:
        _check_normalisation(normalise, _CHANNELS.get(dataset or ""))


def check_surrogate(text: str | None) -> None:
    """Nothing, if this may be a factory.

    Raises:
        RobauditError: it cannot.

    """
    if text is None:
        return
    if not is_factory(text):
        raise RobauditError(f"--surrogate {text}: names no factory; pass FILE.py:FUNCTION")
    _check_factory(text, f"--surrogate {text}")


def _check_factory(text: str, shown: str) -> None:
    """Nothing, if `text` names no factory, or one whose file or package is there.

    Raises:
        RobauditError: it is not; the message begins with `shown`.

    """
    left, _, factory = text.rpartition(":")
    if left.endswith(".py") and factory:
        if not exists(left):
            raise RobauditError(f"{shown}: no file {left}{meant_path(left)}; pass FILE.py:FUNCTION")
    elif is_factory(text):
        package = left.partition(".")[0]
        try:
            there = importlib.util.find_spec(package) is not None
        except ValueError:  # imported already, by something that does not say from where
            there = True
        if not there:
            near = meant(package, CATALOGUES)
            raise RobauditError(
                f"{shown}: no module {package}{near}; pass FILE.py:FUNCTION or package.module:FUNCTION"
            )


def _check_normalisation(text: str, channels: int | None) -> None:
    """Nothing, if a text of `--normalise` may be one, for images of so many channels where that is known.

    Raises:
        RobauditError: it cannot.

    """
    word = text.removeprefix("bgr:")
    if word in _WAYS:
        made_for = _CHANNELS.get(word)
        if channels is not None and made_for not in (None, channels):
            raise RobauditError(
                f"--normalise {text}: is for {made_for} channels, the data set has {channels}; "
                "pass another, or numbers m,m,m/s,s,s"
            )
        return
    if not re.search(r"[/,]", word):
        raise RobauditError(f"--normalise {unknown('way', word, _WAYS)}, or numbers m,m,m/s,s,s")
    means_and_deviations(word, channels)


def check_image_size(text: str | None) -> None:
    """Nothing, if this is 224 or 224:256, the side and what the shorter side is resized to before.

    Raises:
        RobauditError: it is not.

    """
    if text is not None:
        crop_sizes(text)
