"""What `check` takes besides model, data and threat model, and the refusal of what it does not take."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from robaudit.errors import RobauditError
from robaudit.places import expanded
from robaudit.plan import AUTO_DRAWS, AuditPlan, Engine, Examples, Precision, ThreatModel, parse_fraction

if TYPE_CHECKING:
    import torch
    from torch import nn

    from robaudit.audit import Progress


class Settings(TypedDict, total=False):
    """Under the names of the command line's flags, with the same defaults; None leaves the default.

    Attributes:
        arch, normalise, key, force, trust_program: how a model is read; for an `nn.Module` only `normalise` and
            `force`.
        device: where to compute; by default the module's own GPU, else the first one, else the CPU.
        data_dir, split, download: of a data set given by its name.
        image_size: of a folder of pictures: 224 resizes the shorter side to 256 and takes the middle; "224:232" says
            both.
        limit: at most this many examples, a random subset fixed by the seed.
        attacks: names, as a sequence or separated by commas.
        version: of AutoAttack: standard, plus or rand.
        eps_curve: radii, rising, as a sequence or text (1/255,2/255), or auto: robust accuracy at each.
        within: go on until AutoAttack's robust accuracy is known to this many points either way, for example 1.
        estimate: with `within`, so is the robust accuracy that this attack alone leaves.
        seed, confidence, examples, engine, precision, eot: of the audit; eot is measured if not given.
        pgd_steps, apgd_steps, fab_steps, targets, square_queries, restarts: the attacks' budgets.
        square_bound, autoattack_bound: the gaps at which robustness counts as overestimated.
        claim, claim_attack: a published robust accuracy in [0, 1], and the attack that is said to leave it.
        evidence: where the evidence file goes; an unfinished one of the same audit there is resumed.
        surrogate: a differentiable stand-in, whose gradient an attack of its own follows: a module or FILE.py:FACTORY.
        transfer: another model, whose breaks are tried on this one: a module or a checkpoint.
        progress: True for bars on a terminal, or an object with `begin`, `advance`, `end` and `note`.

    """

    arch: str | None
    normalise: str | None
    key: str | None
    force: bool | None
    trust_program: bool | None
    device: str | torch.device | None
    data_dir: str | PathLike[str] | None
    split: str | None
    download: bool | None
    image_size: int | str | None
    limit: int | None
    attacks: str | Sequence[str] | None
    version: str | None
    eps_curve: str | Sequence[float] | None
    within: float | None
    estimate: str | None
    seed: int | None
    confidence: float | None
    examples: Examples | None
    engine: Engine | None
    precision: Precision | None
    eot: int | None
    pgd_steps: int | None
    apgd_steps: int | None
    fab_steps: int | None
    targets: int | None
    square_queries: int | None
    restarts: int | None
    square_bound: float | None
    autoattack_bound: float | None
    claim: float | None
    claim_attack: str | None
    evidence: str | PathLike[str] | None
    surrogate: nn.Module | str | None
    transfer: nn.Module | str | PathLike[str] | None
    progress: bool | Progress | None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("a whole number")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError("a whole number") from None


def _size(value: Any) -> str:
    return value if isinstance(value, str) else str(_whole(value))


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError("a number") from None


def _place(value: Any) -> Path:
    if not isinstance(value, str | PathLike):
        raise TypeError("a path")
    return expanded(value)


def _names(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    try:
        return tuple(map(_text, value))
    except TypeError:
        raise TypeError("names of attacks") from None


def _model(value: Any) -> Any:
    if not isinstance(value, str | PathLike) and not hasattr(value, "named_parameters"):
        raise TypeError("an nn.Module or the name of a model")
    return value


def _radii(value: Any) -> str | tuple[float | str, ...]:
    if isinstance(value, str):
        return value
    try:
        return tuple(item if isinstance(item, str) else _number(item) for item in value)
    except TypeError:
        raise TypeError("radii") from None


def _watcher(value: Any) -> Any:
    if not isinstance(value, bool) and not all(hasattr(value, name) for name in _WATCHED):
        raise TypeError(f"True, False, or an object with {', '.join(_WATCHED)}")
    return value


_WATCHED = ("begin", "advance", "end", "note")

#: How each setting is read; what it cannot be raises a TypeError that says what is expected.
_OTHERS: dict[str, Callable[[Any], Any]] = {
    "arch": _text,
    "normalise": _text,
    "key": _text,
    "force": _switch,
    "trust_program": _switch,
    "device": str,
    "data_dir": _place,
    "split": _text,
    "download": _switch,
    "image_size": _size,
    "claim": _number,
    "claim_attack": _text,
    "evidence": _place,
    "surrogate": _model,
    "transfer": _model,
    "progress": _watcher,
}
_OF_THE_PLAN: dict[str, Callable[[Any], Any]] = {
    "attacks": _names,
    "version": _text,
    "eps_curve": _radii,
    "within": _number,
    "estimate": _text,
    "seed": _whole,
    "confidence": _number,
    "examples": _text,
    "engine": _text,
    "precision": _text,
    "limit": _whole,
    "eot": _whole,
    "pgd_steps": _whole,
    "apgd_steps": _whole,
    "fab_steps": _whole,
    "targets": _whole,
    "square_queries": _whole,
    "restarts": _whole,
    "square_bound": _number,
    "autoattack_bound": _number,
}
_READERS = _OTHERS | _OF_THE_PLAN
#: What people look for and robaudit does not have, and why.
_INSTEAD = {
    "batch_size": "outcomes do not depend on it, and robaudit measures which one is fastest",
    "epsilon": "did you mean 'eps'?",
}


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not None, each as its own type.

    Raises:
        TypeError: an unknown name, or a value of another type.

    """
    found = {}
    for name, value in given.items():
        if name not in _READERS:
            close = difflib.get_close_matches(name, [*_READERS, "norm", "eps", "labels"], 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(_READERS)}"
            raise TypeError(f"check() has no setting '{name}'; {_INSTEAD.get(name, hint)}")
        if value is None:
            continue
        try:
            found[name] = _READERS[name](value)
        except TypeError as error:
            raise TypeError(f"{name} is {value!r:.60}; expected {error}") from None
    return found


def read_plan(threat: ThreatModel, settings: Mapping[str, Any]) -> AuditPlan:
    """The plan that the settings make.

    Raises:
        ValueError: a bad value.

    """
    given = {name: settings[name] for name in _OF_THE_PLAN if name in settings}
    return AuditPlan.from_flags(threat, **{"eot": AUTO_DRAWS} | given)


def read_threat(norm: str, eps: float | str | None, usual: float | None, data: str) -> ThreatModel:
    """The ball: `eps` as a number or as text like 8/255, else the data set's usual radius.

    Raises:
        RobauditError: there is no radius.
        ValueError: a bad value.

    """
    if eps is None and usual is None:
        raise RobauditError(f"{data}: has no usual radius; pass eps, for example eps=8/255")
    if isinstance(eps, str):
        return ThreatModel(norm, parse_fraction(eps))  # type: ignore[arg-type]
    radius = usual if eps is None else eps
    try:
        number = _number(radius)
    except TypeError:
        raise TypeError(f"eps is {radius!r:.60}; expected a number, for example 8/255") from None
    return ThreatModel(norm, number)  # type: ignore[arg-type]
