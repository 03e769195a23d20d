"""What the attack functions refuse: arguments that attack nothing, images and labels that are none, odd models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robaudit.attacks.objectives import Model
from robaudit.errors import RobauditError


def clean_logits(model: Model, x: Tensor) -> Tensor:
    """(n, K) float32, of images (n, C, H, W) as they are.

    Raises:
        RobauditError: the model does not take them, or gives something else.

    """
    try:
        with torch.no_grad():
            found: object = model(x)
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        shape, reason = tuple(x.shape[1:]), str(error).strip().partition("\n")[0][:160]
        raise RobauditError(f"model: does not take float32 images of shape {shape} ({reason})") from error
    if not isinstance(found, Tensor):
        raise RobauditError(
            f"model: returned a {type(found).__name__}; expected one tensor of logits (N, classes): wrap it in a "
            "function that returns only them"
        )
    if not bool(found.isfinite().all()):
        raise RobauditError("model: its outputs on the images as they are, are not all finite")
    return found.float()


def check_numbers(seed: int, **counts: int) -> None:
    """Nothing, if a seed is a whole number from 0 on and the others from 1 on."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed {seed!r} must be a whole number, at least 0")
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} {count!r} must be a whole number, at least 1")


def check_inputs(model: Model, x: Tensor, y: Tensor, batch_size: int | None) -> None:
    """Nothing, if these are a model to attack, images (N, C, H, W) in [0, 1] and labels (N,).

    Raises:
        RobauditError: they are not.

    """
    if isinstance(model, nn.Module) and model.training:
        raise RobauditError("model: is in training mode; call model.eval()")
    if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point():
        what = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise RobauditError(f"x: is {what}; expected floats (N, C, H, W) in [0, 1]")
    if len(x) and not bool((x.detach().amin() >= 0) & (x.detach().amax() <= 1)):
        raise RobauditError("x: holds values outside [0, 1]; give images before any normalisation")
    if not isinstance(y, Tensor) or y.shape != (len(x),) or y.is_floating_point():
        raise RobauditError(f"y: expected {len(x)} class indices, one an image, as whole numbers")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise RobauditError(f"batch_size {batch_size!r}: must be a whole number of images, at least 1")


def check_classes(logits: Tensor, y: Tensor) -> None:
    """Nothing, if labels (n,) are classes of logits (n, K).

    Raises:
        RobauditError: they are not, or K is below 2.

    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise RobauditError(
            f"model: gives {tuple(logits.shape)}; expected logits (N, classes) of 2 classes or more"
        )
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise RobauditError(
            f"y: runs from {int(y.min())} to {int(y.max())}; the model has classes 0 to {logits.shape[1] - 1}"
        )
