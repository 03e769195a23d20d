"""Loss surfaces as pictures fit to print, and their numbers as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from robaudit.errors import RobauditError
from robaudit.evidence import Surface
from robaudit.files import replacing
from robaudit.reports.boundary import boundary
from robaudit.reports.drawing import drawing
from robaudit.reports.surfaces import (
    HOW_TO_READ,
    NUMBERS,
    Scale,
    Shown,
    axis_of,
    directions,
    name_of,
    numbers_of,
    scale_of,
    shown,
    subject,
    typical,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FORMATS: tuple[str, ...] = (".png", ".svg", ".pdf")
#: Dots an inch of a PNG.
_DPI = 160
_LEVELS = 13
_COLOURS = {"colour": "viridis", "grey": "gray"}
#: Of a curve where the class is right, and where it is wrong, by the colour map.
_CURVES = {"viridis": ("#3b4a6b", "#d1495b"), "gray": ("#222222", "#7a7a7a")}


def landscape_numbers(surfaces: Sequence[Surface]) -> RenderableType:
    """The numbers under the picture, a column a model, and which way is bad."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for surface in surfaces:
        table.add_column(Text(name_of(surface)), justify="right", overflow="fold")
    table.add_column("")
    columns = [numbers_of(surface) for surface in surfaces]
    for name, (title, _, usual) in NUMBERS.items():
        table.add_row(title, *(column[name] for column in columns), Text(usual, style="dim"))
    computed = (f"{100 * surface.numbers()['computed']:.0f} %" for surface in surfaces)
    table.add_row("points computed", *computed, Text("the others interpolated", style="dim"))
    return Group(table, Text(HOW_TO_READ))


def draw_landscapes(
    surfaces: Sequence[Surface], path: Path, *, which: str = "typical", colours: str = "colour"
) -> None:
    """Write the picture at once or not at all: models side by side, each surface on a scale of its own.

    Args:
        surfaces: one or two models'.
        path: ends in one of `PICTURE_FORMATS`.
        which: as `surfaces.shown`.
        colours: `colour` or `grey`.

    Raises:
        RobauditError: the place cannot be written.

    """
    kind = path.suffix.removeprefix(".")
    # No date and a fixed salt: the same surfaces give the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    options: Any = {
        "svg.hashsalt": "robaudit", "svg.fonttype": "path", "image.cmap": _COLOURS[colours], "font.size": 9.0,
    }  # fmt: skip
    try:
        with drawing(options), replacing(path) as partial:
            _figure(surfaces, which).savefig(partial, format=kind, dpi=_DPI, metadata=metadata)
    except OSError as error:
        reason = error.strerror or error
        raise RobauditError(f"{path}: cannot be written ({reason}); choose another place") from error


def _figure(surfaces: Sequence[Surface], which: str) -> Figure:
    """A part a model: surfaces, below them their contours, below these the losses along r1 of every image."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415  without pyplot no display is wanted

    panels = [shown(surface, which) for surface in surfaces]
    across = min(2, max(map(len, panels)))
    lines = -(-max(map(len, panels)) // across)
    wide = 4.3 * across * len(surfaces) + 0.9
    high = 7.2 * lines + 4.0
    figure = Figure(figsize=(wide, high), layout="constrained")
    *parts, side = cast("Any", figure).subfigures(
        1, len(surfaces) + 1, width_ratios=[4.3 * across] * len(surfaces) + [0.9]
    )
    for part, surface, items in zip(parts, surfaces, panels, strict=True):
        _model(part, surface, items, (lines, across))
    bar = figure.colorbar(
        ScalarMappable(), cax=side.add_axes((0.1, 0.3, 0.25, 0.4)), ticks=[0, 1], format="%d"
    )
    bar.ax.set_yticklabels(["lowest", "highest"])
    bar.set_label("loss, from each panel's lowest to its highest", labelpad=-18)
    note = (
        f"{directions(surfaces)} Line: decision boundary, where the margin of the logits is 0. {HOW_TO_READ} "
        "Every number but the last: higher is worse."
    )
    words = textwrap.fill(note, int(wide * 15))
    figure.supxlabel(words, fontsize=8.5, parse_math=False)
    return figure


def _model(part: Any, surface: Surface, items: list[Shown], shape: tuple[int, int]) -> None:
    lines, across = shape
    part.suptitle(_title(surface), fontsize=10, parse_math=False)
    grid = part.add_gridspec(2 * lines + 1, across, height_ratios=[1.25, 1] * lines + [0.75])
    for place, item in enumerate(items):
        row, column = divmod(place, across)
        scale = scale_of(item.loss)
        _surface_axes(part.add_subplot(grid[2 * row, column], projection="3d"), surface, item, scale)
        _contour_axes(part.add_subplot(grid[2 * row + 1, column]), surface, item, scale)
    _curves_axes(part.add_subplot(grid[-1, :]), surface)


def _title(surface: Surface) -> str:
    found = numbers_of(surface)
    numbers = ", ".join(f"{title} {found[name]}" for name, (title, _, _) in NUMBERS.items())
    return "\n".join(textwrap.fill(line, 110) for line in (subject(surface), numbers))


def _surface_axes(axes: Any, surface: Surface, item: Shown, scale: Scale) -> None:
    from matplotlib import rcParams  # noqa: PLC0415

    offsets, unit = axis_of(surface)
    a, b = np.meshgrid(offsets, offsets, indexing="ij")
    heights = np.ma.masked_invalid(scale.heights(item.loss))
    low, high = scale.ends
    axes.computed_zorder = False
    axes.plot_surface(
        a, b, heights, cmap=rcParams["image.cmap"], vmin=low, vmax=high, rcount=60, ccount=60, linewidth=0,
        rasterized=True, zorder=1,
    )  # fmt: skip
    for line in boundary(item.margin):
        xs, ys = (np.interp(line[:, k], np.arange(len(offsets)), offsets) for k in (0, 1))
        z = _lifted(scale.heights(item.loss), line) + 0.01 * (high - low)
        axes.plot(xs, ys, z, color="black", linewidth=2.6, zorder=2)
        axes.plot(xs, ys, z, color="white", linewidth=1.3, zorder=3)
    axes.set_zlim(low, high)
    axes.set_zticks([place for place, _ in scale.ticks()], [words for _, words in scale.ticks()])
    axes.set(xlabel=f"a along r1 ({unit})", ylabel=f"b along r2 ({unit})", zlabel="cross-entropy")
    axes.set_title(f"{item.title}\n{scale.caption}", fontsize=9, parse_math=False)
    axes.view_init(elev=30, azim=-125)
    axes.tick_params(labelsize=7, pad=1)
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=5)
    axes.set_box_aspect(None, zoom=0.95)


def _contour_axes(axes: Any, surface: Surface, item: Shown, scale: Scale) -> None:
    offsets, unit = axis_of(surface)
    heights = np.ma.masked_invalid(scale.heights(item.loss).T)
    levels = np.linspace(*scale.ends, _LEVELS)
    axes.contourf(offsets, offsets, heights, levels=levels)
    if not scale.flat:
        axes.contour(offsets, offsets, heights, levels=levels, colors="black", linewidths=0.25)
    for line in boundary(item.margin):
        xs, ys = (np.interp(line[:, k], np.arange(len(offsets)), offsets) for k in (0, 1))
        axes.plot(xs, ys, color="black", linewidth=3.0)
        axes.plot(xs, ys, color="white", linewidth=1.5)
    _say_side(axes, item.margin)
    axes.plot(0, 0, marker="o", markersize=5, markerfacecolor="white", markeredgecolor="black")
    axes.set(xlabel=f"a along r1 ({unit})", ylabel=f"b along r2 ({unit})", aspect="equal")
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=7)


def _say_side(axes: Any, margin: Any) -> None:
    """In words whether and where the class changes."""
    wrong = float(np.mean(margin <= 0))
    text = "no boundary in view" if wrong in (0.0, 1.0) else f"wrong class on {100 * wrong:.0f} %"
    text = "wrong class everywhere" if wrong == 1.0 else text
    axes.text(
        0.03, 0.03, text, transform=axes.transAxes, fontsize=7.5,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 2},
    )  # fmt: skip


def _curves_axes(axes: Any, surface: Surface) -> None:
    """The loss along r1 through every image, that of the median one bold."""
    from matplotlib import rcParams  # noqa: PLC0415

    offsets, unit = axis_of(surface)
    middle, (right, other) = len(offsets) // 2, _CURVES[rcParams["image.cmap"]]
    curves, margins = surface.loss[:, :, middle], surface.margin[:, :, middle]
    scale = scale_of(curves)
    bold, _ = typical(surface)
    for place in [*(place for place in range(len(surface)) if place != bold), bold]:
        z = scale.heights(curves[place])
        wide, clear = (2.4, 1.0) if place == bold else (0.8, 0.55)
        wrong = margins[place] <= 0
        reached = wrong | np.append(wrong[1:], False) | np.append(False, wrong[:-1])  # both parts meet
        for here, colour, dashes in ((~wrong, right, "solid"), (reached, other, (0, (3, 1.5)))):
            drawn = np.where(here, z, np.nan)
            axes.plot(offsets, drawn, color=colour, linewidth=wide, alpha=clear, linestyle=dashes)
    low, high = scale.ends
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.set_yticks([place for place, _ in scale.ticks()], [words for _, words in scale.ticks()])
    axes.set(xlabel=f"a along r1 ({unit}), b = 0", ylabel="cross-entropy", xlim=(offsets[0], offsets[-1]))
    kind = "log scale" if scale.log else scale.caption if scale.flat else "linear scale"
    axes.set_title(
        f"Loss along r1 through each image ({kind}); bold: the median one; dashed: wrong class", fontsize=8.5
    )
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)


def _lifted(heights: Any, line: Any) -> Any:
    """(k,) the surface's height along a line of the grid, bilinear."""
    from scipy.ndimage import map_coordinates  # noqa: PLC0415

    return map_coordinates(np.nan_to_num(heights), line.T, order=1, mode="nearest")
