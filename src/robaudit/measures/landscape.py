"""The loss around an input along two directions, and numbers that say how rugged it is.

z(a, b) = loss(x + a r1 + b r2) with r1 the sign of the input gradient and r2 random signs: Li et al., Figure 1. The
points are not clipped to [0, 1]: a clipped surface has kinks that are not the model's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from torch import Tensor

from robaudit.attacks.geometry import per_row
from robaudit.devices import in_double, in_parts
from robaudit.gradients import input_gradient

Model = Callable[[Tensor], Tensor]
Floats = NDArray[np.float64]

#: Lines of the finer of the two meshes on which a smooth surface is recognised.
MESH = 17
#: What the coarse mesh may mispredict on the finer, and the finer on the axes, as a share of the surface's range.
COARSE_ERROR, FINE_ERROR = 0.02, 0.005
#: A fall by less than this share of log K, the loss of a guess, does not count.
FALL = 1e-3


@dataclass(frozen=True)
class Landscape:
    """What was measured around n inputs.

    Attributes:
        loss, computed: (n, A, A), see `evidence.Surface`; axis 1 is a.
        slope: (n, 2) the loss's derivatives along r1 and r2 at the input.
        centre: (n,) the loss at the input.
        predictions: (n,) the class at the input; -1 where the logits are not finite.

    """

    loss: Floats
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
    predict the odd ones to 2 % of the surface's range, and the mesh every point of both axes to 0.5 %. Any other
    is computed point by point, as all are with `exact`.

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
    r1 = gradient.sign() * r2.abs()
    slope = torch.stack([in_double((gradient * r).flatten(1)).sum(1) for r in (r1, r2)], dim=1)
    task = _Task(
        model, x, y, (r1, r2), torch.as_tensor(offsets, dtype=x.dtype, device=x.device), batch, advance
    )
    loss = task.fill(exact or len(offsets) < 2 * MESH)
    return Landscape(
        loss,
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


def _loss_in_double(logits: Tensor, y: Tensor) -> Tensor:
    wide = in_double(logits)
    return F.cross_entropy(wide, y.to(wide.device), reduction="none")


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
        self.loss = np.full((len(x), side, side), np.nan)
        self.computed = np.zeros((len(x), side, side), dtype=bool)
        self.done = self.needed = 0

    def fill(self, exact: bool) -> Floats:
        """Every surface, computed or interpolated."""
        if exact:
            self._compute(np.ones_like(self.computed))
            return self.loss
        side = len(self.offsets)
        mesh = np.rint(np.linspace(0, side - 1, MESH)).astype(int)
        wanted = np.zeros((side, side), dtype=bool)
        wanted[np.ix_(mesh, mesh)] = True
        wanted[side // 2, :] = wanted[:, side // 2] = True
        self._compute(np.broadcast_to(wanted, self.computed.shape))
        drawn = [smooth(surface, mesh) for surface in self.loss]
        rugged = np.array([surface is None for surface in drawn])
        self._compute(~self.computed & rugged[:, None, None])
        for place, surface in enumerate(drawn):
            if surface is not None:
                self.loss[place] = np.where(self.computed[place], self.loss[place], surface)
        return self.loss

    def _compute(self, wanted: NDArray[np.bool_]) -> None:
        places = torch.from_numpy(np.argwhere(wanted)).to(self.x.device)
        self.needed += len(places)
        values = in_parts(self._losses, places, self.batch)
        if values:
            found = torch.cat(values).numpy()
            self.loss[wanted] = np.where(np.isfinite(found), found, np.nan)
            self.computed |= wanted

    def _losses(self, places: Tensor) -> Tensor:
        """(k,) on the CPU, at the points `places` (k, 3): which image, and which offset along each direction."""
        image, *along = places.unbind(1)
        points = self.x[image]
        for direction, offset in zip(self.directions, along, strict=True):
            points = points + per_row(self.offsets[offset], points) * direction[image]
        with torch.inference_mode():
            losses = _loss_in_double(self.model(points), self.y[image]).cpu()
        self.done += len(places)
        self.advance(self.done, self.needed)
        return losses


def smooth(surface: Floats, mesh: NDArray[np.int64]) -> Floats | None:
    """The surface (A, A) interpolated from its points on `mesh`; None where these and both axes say it is not smooth.

    Bicubic splines. NaN marks the points that are not known; those of the mesh and of both axes are.
    """
    side, middle, coarse = len(surface), len(surface) // 2, mesh[::2]
    known = surface[np.ix_(mesh, mesh)]
    if not np.isfinite(known).all():
        return None
    most = float(known.max() - known.min())
    guess = RectBivariateSpline(coarse, coarse, surface[np.ix_(coarse, coarse)])(mesh, mesh)
    if np.abs(guess - known).max() > COARSE_ERROR * most:
        return None
    drawn = RectBivariateSpline(mesh, mesh, known)(np.arange(side), np.arange(side))
    axes = np.concatenate([drawn[middle] - surface[middle], drawn[:, middle] - surface[:, middle]])
    # Written so that a NaN on an axis fails too.
    return np.asarray(drawn) if np.abs(axes).max() <= FINE_ERROR * most else None
