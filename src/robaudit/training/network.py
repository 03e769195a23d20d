"""The network in training: normalisation in front, weights drawn from the run's seed, saved as `check` loads it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.devices import has_bf16, is_accelerator
from robaudit.errors import RobauditError
from robaudit.inputs import (
    Classifier,
    ModelInfo,
    Normalise,
    build_architecture,
    parse_normalisation,
    save_classifier,
)
from robaudit.training.rescaling import shrink_logits
from robaudit.training.settings import TrainSettings


class ChannelsLast(nn.Module):
    """The same images (N, C, H, W), laid out as convolutions run faster on."""

    def forward(self, x: Tensor) -> Tensor:
        """The images."""
        return x.contiguous(memory_format=torch.channels_last)


class Trained(nn.Module):
    """(N, C, H, W) in [0, 1] to logits (N, K); `network` holds the weights.

    Kept channels-last, which convolutions run faster on. With `half` the passes are in bfloat16, the weights and what
    is done with the logits in float32.
    """

    def __init__(self, network: nn.Module, normalise: str, channels: int, half: bool = False) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(parse_normalisation(normalise, channels))
        self.half_precision = half

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = self.normalise(x.contiguous(memory_format=torch.channels_last))
        if not self.half_precision:
            logits: Tensor = self.network(x)
            return logits
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the data fix of a network."""

    classes: int
    image: tuple[int, int, int]


def new_network(settings: TrainSettings, shape: Shape) -> Trained:
    """Fresh weights, drawn from the seed without touching the process's random state."""
    channels, _, side = shape.image
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_architecture(
            settings.arch, classes=shape.classes, in_channels=channels, image_size=side
        )
    device = torch.device(settings.device)
    half = settings.precision == "bf16" or (
        settings.precision == "auto" and is_accelerator(device) and has_bf16(device)
    )
    return Trained(network, settings.normalise, channels, half).to(settings.device)


def begin_from(trained: Trained, start: Classifier | None, x: Tensor) -> list[str]:
    """Take over the weights that a run starts from; what is to be said of that.

    Args:
        trained: gets the weights.
        start: of the same architecture; None for the fresh weights that are there.
        x: (n, C, H, W) in [0, 1], to see what its logits are like.

    Raises:
        RobauditError: what its architecture builds anew has other tensors.

    """
    if start is None:
        return []
    given = start.network.state_dict()
    for name, tensor in trained.network.state_dict().items():
        if (
            name not in given and name.rpartition(".")[2] == "bias"
        ):  # a layer without one; architectures have one
            given[name] = torch.zeros_like(tensor)
    try:
        trained.network.load_state_dict(given)
    except RuntimeError as error:
        raise RobauditError(
            f"{start.info.path}: has other tensors than {start.info.architecture} builds anew; train from another"
        ) from error
    factor = shrink_logits(trained, x)
    scaled = (
        f"logits are scaled by {factor:.3g}, they were too large to train from; predictions stay as they were"
    )
    return [scaled] if factor < 1 else []


def as_classifier(trained: Trained, settings: TrainSettings, shape: Shape) -> Classifier:
    """A frozen float32 copy in evaluation mode, which measures and attacks take."""
    channels, _, side = shape.image
    with torch.random.fork_rng(devices=[]):
        copy = build_architecture(settings.arch, classes=shape.classes, in_channels=channels, image_size=side)
    copy.load_state_dict(trained.network.state_dict())
    info = ModelInfo(
        path="",
        sha256="",
        architecture=settings.arch,
        normalisation=settings.normalise,
        parameters=sum(parameter.numel() for parameter in copy.parameters()),
        classes=shape.classes,
        input_shape=shape.image,
        format="training",
    )
    normalisation = parse_normalisation(settings.normalise, channels)
    return Classifier(copy, normalisation, info).to(settings.device)


#: Of an epoch's log, what its weights' metadata tell.
TOLD = (
    "epoch",
    "clean",
    "pgd10",
    "robust",
    "robust_low",
    "robust_high",
    "robust_examples",
    "robust_when_chosen",
    "chosen_examples",
    "autoattack",
    "luck",
    "fosc_normalised",
    "sgcs",
)


def save(
    trained: Trained | Classifier, path: Path, settings: TrainSettings, shape: Shape, row: dict[str, Any]
) -> None:
    """Write the weights as `check` loads them with no flag; `row`, an epoch's log, goes into the metadata."""
    save_classifier(
        trained.network,
        path,
        architecture=settings.arch,
        classes=shape.classes,
        input_shape=shape.image,
        normalisation=settings.normalise,
        extra={key: str(row[key]) for key in TOLD if key in row}
        | {"method": settings.method, "beta": str(settings.beta), "seed": str(settings.seed)},
    )
