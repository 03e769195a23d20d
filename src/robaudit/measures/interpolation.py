"""When a surface is smooth enough to be interpolated from some of its points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Lines of the finer of the two meshes on which a smooth surface is recognised.
MESH = 17
#: What the coarse mesh may mispredict on the finer, and the finer on the axes, as a share of the surface's range.
COARSE_ERROR, FINE_ERROR = 0.02, 0.005
#: The same for the margin, of which only the place of its zero is drawn: it has kinks where the rival class changes.
MARGIN_COARSE, MARGIN_FINE = 0.10, 0.03


def smooth(
    surface: Floats,
    mesh: NDArray[np.int64],
    coarse_error: float = COARSE_ERROR,
    fine_error: float = FINE_ERROR,
) -> Floats | None:
    """The surface (A, A) interpolated from its points on `mesh`; None where these and both axes say it is not smooth.

    Bicubic splines; errors are shares of the surface's range. NaN
    marks the points that are not known; those of the mesh and of both axes are.
    """
    from scipy.interpolate import RectBivariateSpline  # noqa: PLC0415  a third of a second, for landscapes only

    side, middle, coarse = len(surface), len(surface) // 2, mesh[::2]
    known = surface[np.ix_(mesh, mesh)]
    if not np.isfinite(known).all():
        return None
    most = float(known.max() - known.min())
    guess = RectBivariateSpline(coarse, coarse, surface[np.ix_(coarse, coarse)])(mesh, mesh)
    if np.abs(guess - known).max() > coarse_error * most:
        return None
    drawn = RectBivariateSpline(mesh, mesh, known)(np.arange(side), np.arange(side))
    axes = np.concatenate([drawn[middle] - surface[middle], drawn[:, middle] - surface[:, middle]])
    # Written so that a NaN on an axis fails too.
    return np.asarray(drawn) if np.abs(axes).max() <= fine_error * most else None
