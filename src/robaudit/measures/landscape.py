"""The loss around an input along two directions, and numbers that say how rugged it is.

z(a, b) = loss(x + a r1 + b r2) with r1 the sign of the input gradient and r2 random signs: Li et al., Figure 1. Where
that gradient is exactly zero, r1 is the sign of the margin's, towards the decision boundary: else the picture of a
saturated network would have no first axis. The points are not clipped to [0, 1]: a clipped surface has kinks that are
not the model's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from robaudit.attacks.geometry import per_row
from robaudit.devices import in_double, in_parts
from robaudit.gradients import input_gradient
from robaudit.measures.interpolation import MARGIN_COARSE, MARGIN_FINE, MESH, smooth

Model = Callable[[Tensor], Tensor]
Floats = NDArray[np.float64]

#: A fall by less than this share of log K, the loss of a guess, does not count.
FALL = 1e-3


@dataclass(frozen=True)
class Landscape:
    """What was measured around n inputs.

    Attributes:
        loss, margin, computed: (n, A, A), see `evidence.Surface`; axis 1 is a.
        slope: (n, 2) the loss's derivatives along r1 and r2 at the input.
        centre: (n,) the loss at the input.
        predictions: (n,) the class at the input; -1 where the logits are not finite.

    """

    loss: Floats
    margin: Floats
    computed: NDArray[np.bool_]
    slope: Floats
    centre: Floats
    predictions: NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """Per input, (n,) each; see `evidence.Surface`."""

    roughness: Floats
    falling: Floats
    nonlinearity: Floats


def landscape(
    model: Model,
    inputs: tuple[Tensor, Tensor],
    r2: Tensor,
    offsets: Floats,
    *,
    exact: bool = False,
    batch: int = 256,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Landscape:
    """The loss at every combination of two offsets.

    A surface that is smooth on a mesh of 17 lines a side is interpolated between them: the mesh's even lines must
    predict the odd ones to 2 % of the surface's range, and the mesh every point of both axes to 0.5 % (the margin's to
    10 % and 3 %). Any other is computed point by point, as all are with `exact`.

    Args:
        model: from (n, C, H, W) to logits (n, K).
        inputs: (n, C, H, W) in [0, 1] and labels (n,).
        r2: (n, C, H, W), the second direction; its length is given to the first one too.
        offsets: (A,) increasing, A odd, 0 in the middle.
        exact: compute every point.
        batch: inputs at once.
        advance: told (points done so far, points known to be needed) as it goes on.

    """
    x, y = inputs
    gradient, centre, predictions = _at(model, x, y)
    r1 = _uphill(model, x, y, gradient).sign() * r2.abs()
    slope = torch.stack([in_double((gradient * r).flatten(1)).sum(1) for r in (r1, r2)], dim=1)
    task = _Task(
        model=model,
        x=x,
        y=y,
        directions=(r1, r2),
        offsets=torch.as_tensor(offsets, dtype=x.dtype, device=x.device),
        batch=batch,
        advance=advance,
    )
    task.fill(exact or len(offsets) < 2 * MESH)
    return Landscape(
        task.values[0],
        task.values[1],
        task.computed,
        slope.cpu().numpy(),
        centre.cpu().numpy().astype(np.float64),
        predictions.cpu().numpy(),
    )


def numbers(found: Landscape, offsets: Floats, classes: int) -> Numbers:
    """How rugged each surface is, in units of log K, the loss of a guess among K classes."""
    row = found.loss[:, :, len(offsets) // 2]
    steps = np.diff(row, axis=1)
    unit = math.log(classes)
    # Sums of the same steps, so that a monotone profile gives exactly 0.
    roughness = 2 * np.minimum(
        np.where(steps > 0, steps, 0).sum(axis=1), -np.where(steps < 0, steps, 0).sum(axis=1)
    )
    falling = (steps < -FALL * unit).mean(axis=1)
    falling[found.slope[:, 0] == 0] = 1.0  # |g|_1 = 0: no direction in which the loss is known to rise
    plane = (
        found.centre[:, None, None]
        + found.slope[:, 0, None, None] * offsets[:, None]
        + found.slope[:, 1, None, None] * offsets
    )
    deviation = np.abs(found.loss - plane).max(axis=(1, 2))
    roughness[np.isnan(row).any(axis=1)] = np.nan
    return Numbers(roughness / unit, falling, deviation / unit)


def _at(model: Model, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The input gradient as an attacker sees it, in float32; the loss; the prediction."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x).float()
        gradient = input_gradient(F.cross_entropy(logits, y, reduction="sum"), x)
    logits = logits.detach()
    finite = logits.isfinite().all(1)
    loss = _loss_in_double(logits, y)
    return gradient.nan_to_num(0.0, 0.0, 0.0), loss, torch.where(finite, logits.argmax(1), -1)


def _uphill(model: Model, x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the loss, and where it is exactly zero that of the margin, downhill."""
    silent = gradient.flatten(1).abs().amax(1) == 0
    if not silent.any():
        return gradient
    here = x[silent].detach().requires_grad_()
    with torch.enable_grad():
        logits = model(here).float()
        mine = F.one_hot(y[silent], logits.shape[1]).bool()
        margin = logits[mine] - logits.masked_fill(mine, -math.inf).amax(1)
        found = input_gradient(-margin.sum(), here)
    uphill = gradient.clone()
    uphill[silent] = found.nan_to_num(0.0, 0.0, 0.0)
    return uphill


def _loss_in_double(logits: Tensor, y: Tensor) -> Tensor:
    wide = in_double(logits)
    return F.cross_entropy(wide, y.to(wide.device), reduction="none")


def _margin_in_double(logits: Tensor, y: Tensor) -> Tensor:
    """(n,) the true class's logit minus the largest other one: positive where the class is right."""
    wide = in_double(logits)
    labels = y.to(wide.device)[:, None]
    others = wide.scatter(1, labels, -math.inf)
    return wide.gather(1, labels)[:, 0] - others.amax(1)


class _Task:
    """The points of n surfaces, as far as they are computed."""

    def __init__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        directions: tuple[Tensor, Tensor],
        offsets: Tensor,
        batch: int,
        advance: Callable[[int, int], None],
    ):
        self.model, self.x, self.y, self.directions = model, x, y, directions
        self.offsets, self.batch, self.advance = offsets, batch, advance
        side = len(offsets)
        #: (2, n, A, A): loss and margin.
        self.values = np.full((2, len(x), side, side), np.nan)
        self.computed = np.zeros((len(x), side, side), dtype=bool)
        self.done = self.needed = 0

    def fill(self, exact: bool) -> None:
        """Every surface, computed or interpolated."""
        if exact:
            self._compute(np.ones_like(self.computed))
            return
        side = len(self.offsets)
        mesh = np.rint(np.linspace(0, side - 1, MESH)).astype(int)
        wanted = np.zeros((side, side), dtype=bool)
        wanted[np.ix_(mesh, mesh)] = True
        wanted[side // 2, :] = wanted[:, side // 2] = True
        self._compute(np.broadcast_to(wanted, self.computed.shape))
        loss, margin = self.values
        drawn = [
            (smooth(one, mesh), smooth(other, mesh, MARGIN_COARSE, MARGIN_FINE))
            for one, other in zip(loss, margin, strict=True)
        ]
        rugged = np.array([any(surface is None for surface in pair) for pair in drawn])
        self._compute(~self.computed & rugged[:, None, None])
        for place in np.flatnonzero(~rugged):
            for values, surface in zip(self.values, drawn[place], strict=True):
                values[place] = np.where(self.computed[place], values[place], surface)

    def _compute(self, wanted: NDArray[np.bool_]) -> None:
        places = torch.from_numpy(np.argwhere(wanted)).to(self.x.device)
        self.needed += len(places)
        values = in_parts(self._at_points, places, self.batch)
        if values:
            found = torch.cat(values).numpy()
            for kept, new in zip(self.values, found.T, strict=True):
                kept[wanted] = np.where(np.isfinite(new), new, np.nan)
            self.computed |= wanted

    def _at_points(self, places: Tensor) -> Tensor:
        """(k, 2) on the CPU: loss and margin at the points `places` (k, 3), the image and both offsets."""
        image, *along = places.unbind(1)
        points = self.x[image]
        for direction, offset in zip(self.directions, along, strict=True):
            points = points + per_row(self.offsets[offset], points) * direction[image]
        with torch.inference_mode():
            logits, labels = self.model(points), self.y[image]
            found = torch.stack([_loss_in_double(logits, labels), _margin_in_double(logits, labels)], 1).cpu()
        self.done += len(places)
        self.advance(self.done, self.needed)
        return found
