"""Where the margin of the logits is 0: the decision boundary as lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def boundary(margin: Floats) -> list[Floats]:
    """Lines (k, 2), in places of the grid (A, A), on which the margin is 0."""
    from contourpy import contour_generator  # noqa: PLC0415  matplotlib's own; slow to import

    lines = contour_generator(z=np.ma.masked_invalid(margin.T)).lines(0.0)
    return [np.asarray(line, dtype=np.float64) for line in lines]
