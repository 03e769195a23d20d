"""Help with options in named panels, and what a shell completes; without rich, which is slow to import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args

from typer.core import TyperCommand
from typer.models import OptionInfo

from robaudit.architectures import NETWORKS
from robaudit.datasets import DATASETS
from robaudit.plan import ATTACK_NAMES, VERSIONS, Engine, Examples, Norm, Precision
from robaudit.training.settings import Augment, Method, ScheduleName, Select, TrainExecution

#: Panels of options that name none themselves, the same in every command.
_PANELS: dict[str, tuple[str, ...]] = {
    "Data": ("dataset", "data_dir", "split", "limit", "download", "image_size", "images", "example"),
    "Model": ("arch", "normalise", "key", "trust_program", "device", "engine"),
    "Threat model and verdict": ("norm", "eps", "margin"),
    "Output": ("json_path", "out", "form", "markdown", "sarif", "junit", "html", "tensors", "log", "quiet"),
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}
#: Panels that come last, whatever a command begins with.
_LAST = ("Output", "Options")


class Command(TyperCommand):
    """A command whose help groups its options; arguments come first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section a panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(panel_of(parameter), []).append(record)
        for name in sorted(panels, key=lambda name: (name in _LAST, name == "Options")):
            with formatter.section(name):
                formatter.write_dl(panels[name])


def panel_of(parameter: Any) -> str:
    """The name of the panel that a parameter is listed in."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    own: str | None = getattr(parameter, "rich_help_panel", None)
    return own or _PANEL_OF.get(parameter.name, "Options")


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for an option that takes one of `words`."""
    known = list(words)

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def some_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for an option that takes several of `words`, separated by commas."""
    known = list(words)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{word}" for word in known if word.startswith(last) and word not in given]

    return complete


#: What a shell offers by an option's name, the same in every command.
_COMPLETED: dict[str, Callable[[str], list[str]]] = {
    "dataset": one_of(DATASETS),
    "split": one_of(sorted({split for spec in DATASETS.values() for split in spec.splits})),
    "norm": one_of(get_args(Norm)),
    "attacks": some_of((*ATTACK_NAMES, "autoattack", "paper")),
    "version": one_of(VERSIONS),
    "examples": one_of(get_args(Examples)),
    "engine": one_of(get_args(Engine)),
    "precision": one_of(get_args(Precision)),
    "arch": one_of(name for names in NETWORKS.values() for name in names),
    "normalise": one_of(["none", "per-image", "imagenet", *DATASETS]),
    "device": one_of(["auto", "cpu", "cuda", "mps", "xpu"]),
    "method": one_of(get_args(Method)),
    "schedule": one_of(get_args(ScheduleName)),
    "augment": one_of(get_args(Augment)),
    "select": one_of(get_args(Select)),
    "execution": one_of(get_args(TrainExecution)),
}


def flags_of(command: Callable[..., int]) -> set[str]:
    """The names of a command's options, without the dashes before them."""
    return {
        word.removeprefix("--")
        for name, parameter in inspect.signature(command).parameters.items()
        if isinstance(parameter.default, OptionInfo)
        for word in (parameter.default.param_decls or [f"--{name.replace('_', '-')}"])
    }


def completed(command: Callable[..., int]) -> Callable[..., int]:
    """The command, with what its options offer to a shell where they do not say it themselves."""
    for name, parameter in inspect.signature(command).parameters.items():
        if isinstance(parameter.default, OptionInfo) and parameter.default.autocompletion is None:
            parameter.default.autocompletion = _COMPLETED.get(name)
    return command
