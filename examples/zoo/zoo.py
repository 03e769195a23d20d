"""The zoo's networks as factories: `robaudit check zoo.py:digits_pgd_at ...`, in the folder that build.py filled.

Each name of zoo.toml with `_` for `-` is a function that returns the network with its weights. The defences are those
of the literature on gradient masking (Athalye et al. 2018, https://arxiv.org/abs/1802.00420).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.inputs import load_classifier

HERE = Path(__file__).parent
MODELS: dict[str, dict[str, Any]] = {
    item["name"]: item for item in tomllib.loads((HERE / "zoo.toml").read_text(encoding="utf-8"))["model"]
}
#: The digits preset's network, with the activation to be chosen.
CHANNELS = (16, 32)


class Winners(nn.Module):
    """Only the largest tenth of each example's activations passes (k-winners-take-all, arXiv 1905.10510)."""

    share = 0.1

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; zero where it did not win."""
        flat = x.flatten(1)
        least = flat.topk(max(int(self.share * flat.shape[1]), 1), dim=1).values[:, -1:]
        return (flat * (flat >= least)).reshape(x.shape)


class Steep(nn.Module):
    """A sigmoid so steep that most of its outputs, and with them its derivatives, are exactly 0 or 1."""

    def forward(self, x: Tensor) -> Tensor:
        """In [0, 1]."""
        return torch.sigmoid(40 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "winners": Winners, "steep": Steep}


def small_network(activation: str) -> nn.Sequential:
    """(N, 1, 8, 8) to (N, 10), for what build.py trains itself."""
    first, second = CHANNELS
    act = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), act(), nn.Conv2d(first, second, 3, stride=2, padding=1), act(),
        nn.Flatten(), nn.Linear(second * 16, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip


class Around(nn.Module):
    """A network behind something."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class Scaled(Around):
    """Logits times a large number: the softmax saturates and the cross-entropy's gradient is exactly zero."""

    def __init__(self, network: nn.Module, factor: float):
        super().__init__(network)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.factor * self.network(x)


class Quantised(Around):
    """Pixels rounded to this many levels: the derivative is zero almost everywhere."""

    def __init__(self, network: nn.Module, levels: int):
        super().__init__(network)
        self.steps = levels - 1

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.network(torch.round(x * self.steps) / self.steps)


class Blocks(Around):
    """As in JPEG: the cosine transform of each 4 x 4 block, rounded to multiples of `step`, and back."""

    def __init__(self, network: nn.Module, step: float):
        super().__init__(network)
        self.step = step
        k, n = torch.arange(4.0)[:, None], torch.arange(4.0)[None]
        basis = torch.cos(math.pi / 4 * (n + 0.5) * k) * math.sqrt(0.5)
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 4, 4, w // 4, 4).transpose(3, 4)
        cosines = self.basis @ blocks @ self.basis.T
        rounded = torch.round(cosines / self.step) * self.step
        back = (self.basis.T @ rounded @ self.basis).transpose(3, 4).reshape(x.shape)
        return self.network(back.clamp(0, 1))


class Rippled(Around):
    """A fine sine on every pixel turns the gradient's sign at every step and hardly moves the logits."""

    def __init__(self, network: nn.Module, height: float, frequency: float):
        super().__init__(network)
        self.height, self.frequency = height, frequency

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.network(x + self.height * torch.sin(self.frequency * x))


class Hidden(Around):
    """The network sees the input behind a stop of the gradient, which comes from a decoy that adds nothing."""

    def __init__(self, network: nn.Module, decoy: str):
        super().__init__(network)
        self.decoy = load(decoy)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        aside = self.decoy(x)
        return self.network(x.detach()) + (aside - aside.detach())


class SteepInput(Around):
    """Pixels through a steep sigmoid: black or white, and flat in float32 but near one half."""

    def __init__(self, network: nn.Module, gain: float):
        super().__init__(network)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.network(torch.sigmoid(self.gain * (x - 0.5)))


class Noise(Around):
    """Gaussian noise on the input, new at every call."""

    def __init__(self, network: nn.Module, sigma: float):
        super().__init__(network)
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.network(x + self.sigma * torch.randn_like(x))


class Resized(Around):
    """A random size and place at every call (Xie et al. 2018, https://arxiv.org/abs/1711.01991)."""

    def __init__(self, network: nn.Module, least: int):
        super().__init__(network)
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        whole = x.shape[-1]
        size = int(torch.randint(self.least, whole + 1, ()))
        top, left = (int(torch.randint(0, whole - size + 1, ())) for _ in range(2))
        small = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        return self.network(F.pad(small, (left, whole - size - left, top, whole - size - top)))


DEFENCES: dict[str, Callable[..., nn.Module]] = {
    "scaled": Scaled,
    "quantised": Quantised,
    "blocks": Blocks,
    "rippled": Rippled,
    "hidden": Hidden,
    "steep_input": SteepInput,
    "noise": Noise,
    "resized": Resized,
}


def load(name: str) -> nn.Module:
    """One model of the zoo with its weights, from images in [0, 1] to logits."""
    entry = MODELS[name]
    if "base" in entry:
        options = dict(entry["defence"])
        return DEFENCES[options.pop("name")](load(entry["base"]), **options).eval()
    if "fit" in entry:
        network = small_network(entry["fit"].get("activation", "relu"))
        network.load_state_dict(torch.load(HERE / f"{name}.pt", weights_only=True))
        return network.eval()
    return load_classifier(str(HERE / name / "last.safetensors")).eval()


for _name in MODELS:
    globals()[_name.replace("-", "_")] = partial(load, _name)
