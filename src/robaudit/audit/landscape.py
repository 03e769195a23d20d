"""The loss surface of a classifier around some images, from the draws and the arithmetic that attacks use."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import robaudit
from robaudit.attacks.randomness import Draws
from robaudit.audit.header import identity_of
from robaudit.audit.preflight import check_shape, first_logits
from robaudit.devices import is_accelerator
from robaudit.engine import on_threads, tune
from robaudit.errors import RobauditError
from robaudit.evidence import Surface
from robaudit.fast import search_model
from robaudit.inputs import Classifier, Images
from robaudit.measures import landscape, numbers
from robaudit.plan import ThreatModel

#: Forward passes alone leave room for this many times the batch of a forward and backward pass.
_FORWARD_ONLY = 2


@dataclass(frozen=True)
class Window:
    """How much of the surface to look at.

    Attributes:
        points: a side of the grid, odd and at least 3.
        span: the largest offset, as a multiple of eps.
        exact: compute every point; by default smooth surfaces are interpolated on the CPU.

    """

    points: int = 51
    span: float = 1.0
    exact: bool = False

    def __post_init__(self) -> None:
        if not 3 <= self.points <= 1001 or self.points % 2 == 0:
            raise ValueError(
                f"grid {self.points} must be odd, so that the image is on it, and at least 3, for example 51"
            )
        if not 0 < self.span <= 100:
            raise ValueError(f"span {self.span:g} must be in (0, 100], a multiple of eps, for example 1")


def measure_landscape(
    classifier: Classifier,
    images: Images,
    threat: ThreatModel,
    *,
    window: Window = Window(),
    seed: int = 0,
    device: str = "cpu",
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Surface:
    """The surface around each of `images`; the same one whatever the batch or the device, up to rounding.

    For the L2 norm both directions are scaled to length 1, so that the axes are in the norm's units.

    Args:
        classifier: from inputs in [0, 1] to logits.
        images: at least one.
        threat: gives the axes their scale.
        window: the part of the surface.
        seed: fixes r2, with each image's id.
        device: where to compute.
        advance: told (points done, points known to be needed).

    Raises:
        RobauditError: the model does not take these images, or has other classes.

    """
    where = torch.device(device)
    x, y = images.float().to(where), images.labels.to(where)
    model = search_model(classifier.to(where), where, "fp32", x[:8])
    check_shape(first_logits(model, x[:1], where)[1], images)
    signs = Draws(seed, "landscape").signs(images.ids.to(where), 0, x[0].numel()).reshape(x.shape)
    size = x[0].numel()
    r2 = signs / {"Linf": 1, "L2": math.sqrt(size), "L1": size}[threat.norm]
    offsets = np.linspace(-1, 1, window.points) * (window.span * threat.eps)
    offsets[window.points // 2] = 0.0
    tuning = tune(model, x[:1])
    with on_threads(tuning.threads), model.arithmetic():
        found = landscape(
            model, (x, y), r2, offsets, exact=window.exact or is_accelerator(where),
            batch=_FORWARD_ONLY * tuning.slots, advance=advance,
        )  # fmt: skip
    if np.isnan(found.loss).all(axis=(1, 2)).any():
        raise RobauditError(
            f"{classifier.info.path}: its loss is not finite anywhere; run `robaudit check` on it"
        )
    measured = numbers(found, offsets, images.classes)
    return Surface(
        offsets=offsets,
        loss=found.loss,
        margin=found.margin,
        computed=found.computed,
        ids=images.ids.numpy(),
        labels=images.labels.numpy(),
        predictions=found.predictions,
        roughness=measured.roughness,
        falling=measured.falling,
        nonlinearity=measured.nonlinearity,
        has_gradient=found.slope[:, 0] != 0,
        about=_about(classifier, images, threat, seed),
    )


def _about(classifier: Classifier, images: Images, threat: ThreatModel, seed: int) -> dict[str, object]:
    info = classifier.info
    return {
        "model": {
            "path": info.path,
            "sha256": info.sha256,
            "digest": identity_of(classifier),
            "architecture": info.architecture,
            "normalisation": info.normalisation,
        },
        "data": {"name": images.name, "split": images.split, "sha256": images.sha256},
        "threat": {"norm": threat.norm, "eps": threat.eps},
        "seed": seed,
        "versions": {
            "robaudit": robaudit.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
