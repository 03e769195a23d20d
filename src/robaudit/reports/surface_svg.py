"""A loss surface as SVG seen from an angle, and from above; the page's script turns the first, else it stands still."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.evidence import Surface
from robaudit.reports.boundary import boundary
from robaudit.reports.charts import Axis, Plot, svg
from robaudit.reports.images import png_uri
from robaudit.reports.surfaces import Scale, Shown, axis_of, number, scale_of, typical
from robaudit.reports.templates import markup

Floats = NDArray[np.float64]

#: Points a side that are drawn.
_SIDE = 26
_SIZE = 420
_AZIMUTH, _ELEVATION, _TALL = 0.55, 0.5, 1.25
#: Viridis in ten steps, as in page.css.
_SHADES = np.array(
    [[68, 1, 84], [72, 40, 120], [62, 73, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121],
     [110, 206, 88], [181, 222, 43], [253, 231, 37]],
    dtype=np.float64,
)  # fmt: skip


def surface_svg(surface: Surface, item: Shown) -> Markup:
    """The surface with its axes and the decision boundary; what the script turns is in `data-z` and `data-p`."""
    scale = scale_of(item.loss)
    heights, low, high = _shares(item.loss, scale), *scale.ends
    keep = np.unique(np.rint(np.linspace(0, len(heights) - 1, min(_SIDE, len(heights)))).astype(int))
    z = np.round(heights[np.ix_(keep, keep)], 3)
    title = f"Loss surface of {item.title}, {scale.caption}; drag it or use the arrow keys to turn it"
    parts = [
        markup('<g class="cells">{}</g>', Markup("").join(_cells(z))),
        *[_path("edge", _lifted(heights, line)) for line in boundary(item.margin)],
        *[_path("line", _lifted(heights, line)) for line in boundary(item.margin)],
        *_axes(surface, (f"{_end(low, scale)}", f"{_end(high, scale)}")),
    ]
    return markup(
        '<svg class="surface" viewBox="0 0 {size} {size}" role="img" tabindex="0" aria-label="{title}" '
        'data-z="{numbers}">{parts}</svg>',
        size=_SIZE,
        title=title,
        numbers=Markup(json.dumps(z.tolist(), separators=(",", ":"))),
        parts=Markup("").join(parts),
    )


def map_svg(surface: Surface, item: Shown) -> Markup:
    """The same from above: colours from the lowest to the highest loss, and the boundary."""
    offsets, unit = axis_of(surface)
    shares = _shares(item.loss, scale_of(item.loss))
    places = shares * (len(_SHADES) - 1)
    colours = np.stack([np.interp(places, range(len(_SHADES)), column) for column in _SHADES.T]) / 255
    image = png_uri(colours.transpose(0, 2, 1)[:, ::-1].astype(np.float32))
    left, top, side = 60, 12, 340
    parts = [
        markup(
            '<image href="{}" x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none"/>',
            Markup(image), left, top, side, side,
        )
    ]  # fmt: skip
    last = len(offsets) - 1
    for line in boundary(item.margin):
        points = " ".join(f"{left + side * a / last:.1f},{top + side * (1 - b / last):.1f}" for a, b in line)
        parts += [
            markup('<polyline class="{}" points="{}"/>', style, Markup(points)) for style in ("edge", "line")
        ]
    parts.append(markup('<circle class="here" cx="{}" cy="{}" r="5"/>', left + side / 2, top + side / 2))
    for share in (0, 0.5, 1):
        words = number(offsets[0] + share * (offsets[-1] - offsets[0]))
        parts.append(_words(left + side * share, top + side + 18, words))
        parts.append(_words(left - 6, top + side * (1 - share) + 5, words, "end"))
    parts.append(_words(left + side / 2, top + side + 38, f"a along r1 ({unit})"))
    parts.append(markup('<text transform="translate(16 {}) rotate(-90)" text-anchor="middle">{}</text>',
                        top + side / 2, f"b along r2 ({unit})"))  # fmt: skip
    return svg(f"Loss of {item.title} from above", _SIZE, parts, _SIZE)


def lines_svg(surface: Surface) -> Markup:
    """The loss along r1 through every image, the median one bold, dotted where the class is wrong."""
    offsets, unit = axis_of(surface)
    middle, (bold, _) = len(offsets) // 2, typical(surface)
    losses, wrong = surface.loss[:, :, middle], surface.margin[:, :, middle] <= 0
    scale = scale_of(losses)
    low, high = scale.ends
    ends = tuple((float(v), number(v)) for v in (offsets[0], 0.0, offsets[-1]))
    x = Axis(f"a along r1 ({unit}), b = 0", float(offsets[0]), float(offsets[-1]), ends)
    plot = Plot("Loss along r1", x, Axis(f"cross-entropy, {scale.caption}", low, high, tuple(scale.ticks())))
    for place in [*(place for place in range(len(surface)) if place != bold), bold]:
        wide = " bold" if place == bold else ""
        starts = np.flatnonzero(np.diff(wrong[place])) + 1
        for start, end in itertools.pairwise([0, *starts, len(offsets)]):
            part = slice(start, end + 1)  # one point more, so that the parts meet
            heights = scale.heights(losses[place][part])
            here = np.isfinite(heights)
            style = ("wrong" if wrong[place][start] else "right") + wide
            plot.line(offsets[part][here], heights[here], style)
    return plot.svg()


def project(points: Floats) -> Floats:
    """(k, 2) places in the drawing of points (k, 3): a and b in [-1, 1], height in [0, 1]; as in page.js."""
    a, b, h = np.asarray(points, dtype=np.float64).T
    across = a * np.cos(_AZIMUTH) - b * np.sin(_AZIMUTH)
    depth = a * np.sin(_AZIMUTH) + b * np.cos(_AZIMUTH)
    up = _TALL * (h - 0.5) * np.cos(_ELEVATION) + depth * np.sin(_ELEVATION)
    return np.stack([_SIZE * (0.5 + across / 4), _SIZE * (0.5 - up / 3.0)], axis=1)


def _shares(loss: Floats, scale: Scale) -> Floats:
    """(A, A) heights in [0, 1]; what is not finite lies at the bottom."""
    low, high = scale.ends
    return np.nan_to_num((scale.heights(loss) - low) / ((high - low) or 1.0), nan=0.0)


def _end(height: float, scale: Scale) -> str:
    return number(10**height if scale.log else height)


def _cells(heights: Floats) -> list[Markup]:
    """The quadrilaterals from back to front."""
    side = len(heights)
    grid = np.linspace(-1, 1, side)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    places = project(np.stack([a, b, heights], axis=-1).reshape(-1, 3)).reshape(side, side, 2)
    depth = a * np.sin(_AZIMUTH) + b * np.cos(_AZIMUTH)
    cells = []
    for i in range(side - 1):
        for j in range(side - 1):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            far = sum(depth[corner] for corner in corners)
            points = " ".join(f"{places[corner][0]:.1f},{places[corner][1]:.1f}" for corner in corners)
            shade = int(np.clip(sum(heights[corner] for corner in corners) / 4 * 10, 0, 9))
            cells.append((-far, markup('<polygon class="h{}" points="{}"/>', shade, Markup(points))))
    return [text for _, text in sorted(cells, key=lambda cell: cell[0])]


def _lifted(heights: Floats, line: Floats) -> Floats:
    """(k, 3): a line (k, 2) of the grid's places, laid on the surface."""
    last = len(heights) - 1
    low = np.clip(np.floor(line).astype(int), 0, last - 1)
    (i, j), (u, v) = low.T, (line - low).T
    h = (
        heights[i, j] * (1 - u) * (1 - v)
        + heights[i + 1, j] * u * (1 - v)
        + heights[i, j + 1] * (1 - u) * v
        + heights[i + 1, j + 1] * u * v
    )
    return np.column_stack([2 * line / last - 1, h])


def _path(style: str, points: Any) -> Markup:
    points = np.round(np.asarray(points, dtype=np.float64), 3)
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in project(points))
    numbers = json.dumps(points.tolist(), separators=(",", ":"))
    return markup('<polyline class="{}" data-p="{}" points="{}"/>', style, Markup(numbers), Markup(places))


def _axes(surface: Surface, heights: tuple[str, str]) -> list[Markup]:
    offsets, _ = axis_of(surface)
    least, most = number(offsets[0]), number(offsets[-1])
    lines = [[[-1, -1, 0], [1, -1, 0]], [[-1, -1, 0], [-1, 1, 0]], [[-1, 1, 0], [-1, 1, 1]]]
    words = [
        ([-0.9, -1.22, 0], least), ([1, -1.2, 0], most), ([0.05, -1.42, 0], "a along r1"),
        ([-1.22, -0.9, 0], least), ([-1.25, 0.7, 0], most), ([-1.42, -0.1, 0], "b along r2"),
        ([-1.15, 1.15, 0], heights[0]), ([-1.15, 1.15, 1], heights[1]), ([-1, 1, 1.16], "cross-entropy"),
    ]  # fmt: skip
    texts = []
    for point, text in words:
        ((x, y),) = project(np.array([point], dtype=np.float64))
        numbers = Markup(json.dumps([point], separators=(",", ":")))
        texts.append(
            markup(
                '<text data-p="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>', numbers, x, y, text
            )
        )
    return [*[_path("axis", line) for line in lines], *texts]


def _words(x: float, y: float, words: str, anchor: str = "middle") -> Markup:
    return markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', x, y, anchor, words)
