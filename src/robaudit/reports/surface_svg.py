"""A loss surface as SVG seen from an angle; the page's script turns it, and without a script it stands still."""

from __future__ import annotations

import json

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.evidence import Surface
from robaudit.reports.templates import markup

#: Points a side that are drawn.
_SIDE = 26
_SIZE = 420
_AZIMUTH, _ELEVATION = -2.2, 0.5


def surface_svg(surface: Surface) -> Markup:
    """The mean surface, with the heights in `data-z` for the page's script."""
    mean = surface.mean()
    keep = np.unique(np.rint(np.linspace(0, len(mean) - 1, min(_SIDE, len(mean)))).astype(int))
    z = np.nan_to_num(
        mean[np.ix_(keep, keep)], nan=float(np.nanmin(mean)) if np.isfinite(mean).any() else 0.0
    )
    low, high = float(z.min()), float(z.max())
    heights = (z - low) / ((high - low) or 1.0)
    numbers = json.dumps(np.round(heights, 4).tolist(), separators=(",", ":"))
    title = f"Loss surface, from {low:.3g} to {high:.3g}; drag it or use the arrow keys to turn it"
    return markup(
        '<svg id="surface" class="surface" viewBox="0 0 {size} {size}" role="img" tabindex="0" '
        'aria-label="{title}" data-z="{numbers}">{cells}</svg>',
        size=_SIZE,
        title=title,
        numbers=Markup(numbers),
        cells=Markup("").join(_cells(heights)),
    )


def _cells(heights: NDArray[np.float64]) -> list[Markup]:
    """The quadrilaterals from back to front; `project` in page.js is the same arithmetic."""
    side = len(heights)
    grid = np.linspace(-1, 1, side)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    across = a * np.cos(_AZIMUTH) - b * np.sin(_AZIMUTH)
    depth = a * np.sin(_AZIMUTH) + b * np.cos(_AZIMUTH)
    up = (heights - 0.5) * np.cos(_ELEVATION) + depth * np.sin(_ELEVATION)
    x, y = _SIZE * (0.5 + across / 3.0), _SIZE * (0.5 - up / 3.0)
    cells = []
    for i in range(side - 1):
        for j in range(side - 1):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            far = sum(depth[corner] for corner in corners)
            points = " ".join(f"{x[corner]:.1f},{y[corner]:.1f}" for corner in corners)
            shade = int(np.clip(sum(heights[corner] for corner in corners) / 4 * 9, 0, 9))
            cells.append((-far, markup('<polygon class="h{}" points="{}"/>', shade, Markup(points))))
    return [text for _, text in sorted(cells, key=lambda cell: cell[0])]
