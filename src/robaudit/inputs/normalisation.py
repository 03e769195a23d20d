"""What is done to images before a network sees them: as text, as numbers, and as found in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from torch import nn

from robaudit.datasets import DATASETS
from robaudit.errors import RobauditError
from robaudit.preprocessing import means_and_deviations

State = dict[str, torch.Tensor]
#: Means and standard deviations that models are published with, by the word that `--normalise` takes.
NAMED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    **{name: (spec.mean, spec.std) for name, spec in DATASETS.items()},
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
#: What a text begins with whose network takes blue first, as OpenCV reads images; numbers are of red, green, blue.
BGR = "bgr:"
#: Other habits, by number: the means of per-image deviations for CIFAR-10, [-1, 1], raw bytes, these less 128, blue
#: first, and Caffe's.
UNNAMED: dict[int, tuple[str, ...]] = {
    1: ("0.5/0.5", "0/0.00392156862745098", "0.5/1", "0.1307/1"),
    3: (
        "0.4914,0.4822,0.4465/0.2023,0.1994,0.201",
        "0.5,0.5,0.5/0.5,0.5,0.5",
        "0.485,0.456,0.406/0.225,0.225,0.225",
        "0,0,0/0.00392156862745098,0.00392156862745098,0.00392156862745098",
        "0.4914,0.4822,0.4465/1,1,1",
        "0.5,0.5,0.5/1,1,1",
        "0.501960784,0.501960784,0.501960784/0.00392156862745098,0.00392156862745098,0.00392156862745098",
        "bgr:none",
        "bgr:imagenet",
        "bgr:0.485019608,0.457956863,0.407603922/0.00392156862745098,0.00392156862745098,0.00392156862745098",
        "per-image",
    ),
}
#: No data set's deviation is below this in [0, 1]; one that is makes bytes of pixels.
LEAST_STD = 0.02
#: Side of images from which networks are usually trained from ImageNet's weights, or as these were.
IMAGENET_SIDE = 128
#: A mean's name (`mean`, `input_mean`, `mu`), and what stands in its place in its deviation's.
MEAN = re.compile(r"(?<![a-z])(means?|mu|avg|average)(?![a-z])")
STDS = ("std", "sigma", "stds", "sd", "stdev", "stddev", "dev", "scale")


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std a channel; `per_image` takes each image's own mean and deviation; then perhaps blue first.

    Attributes:
        text: what `--normalise` takes to get exactly this.
        mean: one a channel; empty for none.
        std: likewise, above 0.
        per_image: as TensorFlow's per-image standardisation.
        blue_first: the channels come in the order blue, green, red.

    """

    text: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    per_image: bool = False
    blue_first: bool = False

    @property
    def unusual(self) -> bool:
        """Whether the network sees raw bytes, blue first, images less their mean but not scaled, or each by itself."""
        return (
            self.per_image
            or self.blue_first
            or any(std < LEAST_STD for std in self.std)
            or (any(self.mean) and set(self.std) == {1.0})
        )


def parse_normalisation(text: str, channels: int) -> Normalisation:
    """What a text of `--normalise` means for images of this many channels.

    Args:
        text: `none`, a data set's name, `imagenet`, `per-image`, or numbers `m,m,m/s,s,s` (one each will do); with
            `bgr:` before it for a network that takes blue first.
        channels: C of the images.

    Raises:
        RobauditError: unknown, or not one number a channel, or a deviation not above 0.

    """
    if text.startswith(BGR):
        if channels != 3:
            raise RobauditError(f"--normalise {text}: is for 3 channels, the model takes {channels}")
        return replace(parse_normalisation(text.removeprefix(BGR), channels), text=text, blue_first=True)
    if text in ("none", "per-image"):
        return Normalisation(text, per_image=text == "per-image")
    if text in NAMED:
        mean, std = NAMED[text]
        if len(mean) != channels:
            raise RobauditError(
                f"--normalise {text}: is for {len(mean)} channels, the model takes {channels}"
            )
        return Normalisation(text, mean, std)
    if "/" not in text:
        raise RobauditError(
            f"--normalise {text}: not known; use none, per-image, {', '.join(NAMED)}, or numbers m,m,m/s,s,s"
        )
    sides = means_and_deviations(text, channels)
    mean, std = (side * channels if len(side) == 1 else side for side in sides)
    return Normalisation(text, mean, std)


def usual_normalisations(dataset: str, channels: int, side: int = 0) -> list[Normalisation]:
    """What models for such images are usually trained with, the likeliest first: ImageNet's where they are large."""
    names = ["imagenet"] if side >= IMAGENET_SIDE and channels == 3 and dataset not in NAMED else []
    names += ["none", *([dataset] if dataset in NAMED else []), *UNNAMED.get(channels, ())[:1]]
    names += [name for name in ("imagenet", "cifar10", "mnist") if name not in names]
    names += [text for text in UNNAMED.get(channels, ()) if text not in names]
    fitting = [name for name in names if name not in NAMED or len(NAMED[name][0]) == channels]
    return [parse_normalisation(name, channels) for name in fitting]


def stored_normalisation(state: State, channels: int) -> tuple[Normalisation | None, State]:
    """A normalisation layer's buffers found in a state dict, and the state dict without them.

    Recognised by names (`normalizer.mean` and `.std`, `mu` and `sigma`) and shapes: one number a channel.
    Values above 1 are taken as of [0, 255].
    """
    stored: Normalisation | None = None
    for key, mean in list(state.items()):
        parent, dot, last = key.rpartition(".")
        name = MEAN.search(last.lower().replace("_", " "))
        if (
            not name
            or last.startswith("running")
            or mean.numel() not in (1, channels)
            or not mean.is_floating_point()
        ):
            continue
        for other in STDS:
            found = parent + dot + last[: name.start()] + other + last[name.end() :]
            std = state.get(found)
            if std is not None and std.numel() in (1, channels):
                state = {name: tensor for name, tensor in state.items() if name not in (key, found)}
                stored = stored or _from_tensors(mean, std, channels)
    return stored, state


def _from_tensors(mean: torch.Tensor, std: torch.Tensor, channels: int) -> Normalisation | None:
    scale = 255.0 if float(mean.abs().max()) > 2 else 1.0
    sides = [(tensor.flatten().double() / scale).tolist() for tensor in (mean, std)]
    text = "/".join(
        ",".join(f"{value:.9g}" for value in (side * channels if len(side) == 1 else side)) for side in sides
    )
    try:
        return parse_normalisation(text, channels)
    except RobauditError:
        return None


class Normalise(nn.Module):
    """A `Normalisation` as a module: (N, C, H, W) in [0, 1] to the same shape; buffers `mean`, `std`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.plain = not normalisation.mean
        self.per_image = normalisation.per_image
        self.blue_first = normalisation.blue_first
        self.register_buffer("mean", torch.tensor(normalisation.mean or (0.0,)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std or (1.0,)).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images; the input itself where there is nothing to do."""
        if self.per_image:
            std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True, unbiased=False)
            x = (x - mean) / std.clamp_min(x[0].numel() ** -0.5)
        elif not self.plain:
            x = (x - self.mean) / self.std
        return x.flip(1) if self.blue_first else x
