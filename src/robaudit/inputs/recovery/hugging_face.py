"""Networks of Hugging Face's `transformers`, where it is installed, built as `config.json` says."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.files.model_folders import CONFIG, PREPROCESSOR
from robaudit.inputs.files.several import State
from robaudit.inputs.identity import class_structure
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.described import Described, as_transformer
from robaudit.inputs.recovery.layers import chain_classes, input_channels
from robaudit.inputs.recovery.members import Members, member_options
from robaudit.inputs.recovery.transformer import transformer_candidates

#: What an architecture's text begins with.
PREFIX = "transformers:"


class Logits(nn.Module):
    """(N, C, H, W) to the logits among the outputs of such a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), normalised, to (N, classes)."""
        logits: torch.Tensor = self.network(x).logits
        return logits


def described_options(
    description: Described,
    members: Members,
    arch: str | None,
    shape: tuple[int, int, int] | None,
    path: Path,
    *,
    build: bool = True,
) -> tuple[list[Candidate], str]:
    """The network that the JSON beside a checkpoint describes, and its structure where no text says it.

    Args:
        description: what it says.
        members: the checkpoint's one state dict; sentences for the report go to its notes.
        arch: `transformers:KIND` where the user named it.
        shape: (C, H, W) of the images, where there are some.
        path: begins every error.
        build: otherwise it is only named, and no package imported.

    Raises:
        RobauditError: there is no such network, or the tensors are of another.

    """
    _check_size(description, members, shape, path)
    if description.timm:
        return _of_timm(description.timm, members, shape, path, build), ""
    layers, state = members.layers[0], members.states[0]
    if arch is None and (option := as_transformer(description, transformer_candidates(layers, shape))):
        return [option], ""
    channels = description.settings.get("num_channels")
    channels = channels if type(channels) is int else input_channels(layers) or 3
    side = shape[1] if shape else description.size.side
    classes = description.classes or chain_classes(layers)
    option = Candidate(f"{PREFIX}{description.kind}", tuple(layers), channels, side, classes, 0.0, exact=True)
    if not build:
        return [option], ""
    network = build_described(description, state, str(path))
    option = replace(option, layers=(), network=network)
    return [option], f"{json.dumps(description.settings, sort_keys=True)}\n{class_structure(network)}"


def _of_timm(
    name: str, members: Members, shape: tuple[int, int, int] | None, path: Path, build: bool
) -> list[Candidate]:
    try:
        return member_options(members, f"timm:{name}", shape, path, build=build)
    except RobauditError as error:
        if not str(error).startswith("--arch"):  # which nobody gave
            raise
        raise RobauditError(
            f"{path}: is of another network than timm:{name}, which {CONFIG} beside it names; pass --arch"
        ) from error


def _check_size(
    description: Described, members: Members, shape: tuple[int, int, int] | None, path: Path
) -> None:
    """Nothing where images are of the size that is said; else a note, or an error where no others go in."""
    side = description.size.side
    if not side or shape is None or shape[1:] == (side, side):
        return
    way = f"--image-size {description.size.text} brings a folder of pictures to that size"
    if description.one_size:
        raise RobauditError(
            f"{path}: takes images of {side} x {side}, these are of {shape[1]} x {shape[2]}; {way}, resize others"
        )
    members.notes.append(
        f"warning: {CONFIG} or {PREPROCESSOR} beside it says that images of {side} x {side} go in; "
        f"these are of {shape[1]} x {shape[2]} and go in as they are ({way})"
    )


def build_described(description: Described, state: State, source: str) -> nn.Module:
    """The network that a folder describes, with its tensors.

    Raises:
        RobauditError: the package is not installed, the kind is not known, or the tensors are of another network.

    """
    what = f"{source}: is a Hugging Face network of the kind {description.kind}"
    try:
        package = importlib.import_module("transformers")
        names = importlib.import_module("transformers.models.auto.modeling_auto")
        configs = importlib.import_module("transformers.models.auto.configuration_auto")
    except ImportError as error:
        raise RobauditError(
            f"{what}, which needs the transformers package; pip install transformers"
        ) from error
    known = names.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(description.kind, ())
    known = (known,) if isinstance(known, str) else tuple(known)
    asked = description.settings.get("architectures") or [""]
    name = next((each for each in known if asked[:1] == [each]), known[0] if known else "")
    make = getattr(package, name, None)
    config_of = getattr(package, configs.CONFIG_MAPPING_NAMES.get(description.kind, ""), None)
    if make is None or config_of is None:
        raise RobauditError(f"{what}, which this transformers does not know; upgrade it")
    try:
        config = config_of(**_settings(description, config_of))
        with torch.device("meta"):  # sizes first: no more numbers than the file holds
            same = _numbers(make(config).state_dict()) <= _numbers(state)
        network = _loaded(make, config, state) if same else None
    except Exception as error:  # whatever the package says of a stranger's numbers
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise RobauditError(f"{what}, and cannot be built ({reason})") from error
    if network is None:
        raise RobauditError(f"{what}, and its tensors are of another one; pass --arch FILE.py:FACTORY")
    return Logits(network).eval()


def _numbers(state: State) -> int:
    """Numbers in all tensors but counters."""
    return sum(tensor.numel() for tensor in state.values() if tensor.ndim)


def _loaded(make: Any, config: Any, state: State) -> nn.Module | None:
    """The network with the file's tensors, whose names the package knows in all its versions; None where some lack."""
    logging = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    floats = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    try:
        network, report = make.from_pretrained(
            None, config=config, state_dict=floats, output_loading_info=True, local_files_only=True
        )
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    wrong = any(report.get(kind) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return None if wrong else network


def _settings(description: Described, config_of: Any) -> dict[str, Any]:
    """The numbers and words of a configuration that its own class asks for.

    What all classes share can choose a program to run (`attn_implementation`), so none of that is passed on.
    """
    shared = inspect.signature(importlib.import_module("transformers").PretrainedConfig.__init__).parameters
    own = inspect.signature(config_of.__init__).parameters.keys() - shared.keys()
    left_out = {"out_features", "out_indices"}
    chosen = {
        key: value
        for key, value in description.settings.items()
        if key in own - left_out and _is_plain(value)
    }
    return chosen | ({"num_labels": description.classes} if description.classes > 0 else {})


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
