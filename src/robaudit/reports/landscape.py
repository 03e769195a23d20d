"""Loss surfaces as pictures fit to print, and their numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.evidence import Surface
from robaudit.files import replacing
from robaudit.reports.formatting import eps_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FORMATS: tuple[str, ...] = (".png", ".svg", ".pdf")
#: Dots an inch of a PNG.
_DPI = 200
_LEVELS = 12
_COLOURS = "viridis"
#: name in `Surface.numbers`: title, what it says.
NUMBERS: dict[str, tuple[str, str]] = {
    "roughness": ("roughness", "up and down along r1 beyond the net change, in units of log K"),
    "falling": ("falling steps", "share of the steps along r1 at which the loss falls"),
    "nonlinearity": ("linearity error", "largest deviation from the tangent plane, in units of log K"),
    "no_gradient": ("no gradient", "share of images whose gradient is exactly zero"),
}


@dataclass(frozen=True)
class _Panel:
    title: str
    surface: Surface
    z: Any


def landscape_numbers(surfaces: Sequence[Surface]) -> RenderableType:
    """The numbers under the picture, a row a model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    for title in (*(title for title, _ in NUMBERS.values()), "images", "computed"):
        table.add_column(title, justify="right")
    for surface in surfaces:
        found = surface.numbers()
        cells = [f"{found[name]:.3g}" for name in NUMBERS]
        name = Text(plain(Path(surface.about["model"]["path"]).name))
        table.add_row(name, *cells, str(len(surface)), f"{100 * found['computed']:.0f} %")
    return table


def draw_landscapes(surfaces: Sequence[Surface], path: Path, *, each: bool = False) -> None:
    """Write the picture at once or not at all: a row a model, or with `each` a row an image, all on one scale.

    Args:
        surfaces: one or two models'.
        path: ends in one of `PICTURE_FORMATS`.
        each: every image's surface by itself rather than their mean.

    Raises:
        RobauditError: the place cannot be written.

    """
    figure = _figure([_panels(surface, each) for surface in surfaces])
    kind = path.suffix.removeprefix(".")
    # No date and a fixed salt: the same surfaces give the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    try:
        import matplotlib as mpl  # noqa: PLC0415  slow to import

        with mpl.rc_context({"svg.hashsalt": "robaudit", "svg.fonttype": "path"}), replacing(path) as partial:
            figure.savefig(partial, format=kind, dpi=_DPI, metadata=metadata)
    except OSError as error:
        reason = error.strerror or error
        raise RobauditError(f"{path}: cannot be written ({reason}); choose another place") from error


def _panels(surface: Surface, each: bool) -> list[_Panel]:
    name = plain(Path(surface.about["model"]["path"]).name)
    if not each:
        what = f"mean of {len(surface)} images" if len(surface) > 1 else f"example {surface.ids[0]}"
        return [_Panel(f"{name}: {what}", surface, surface.mean())]
    return [
        _Panel(f"{name}: example {key}, class {label}", surface, surface.loss[place])
        for place, (key, label) in enumerate(zip(surface.ids, surface.labels, strict=True))
    ]


def _figure(models: list[list[_Panel]]) -> Figure:
    """Each panel is a surface and its contours; models stand side by side, images below each other."""
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import; without pyplot no display is wanted

    rows, columns = max(map(len, models)), 2 * len(models)
    figure = Figure(figsize=(4.0 * columns, 3.7 * rows + 0.9), layout="constrained")
    drawn = [panel.z for panels in models for panel in panels]
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    high = high if high > low else low + 1e-9
    shades: Any = None
    for side, panels in enumerate(models):
        for row, panel in enumerate(panels):
            place = row * columns + 2 * side + 1
            _surface_axes(figure, (rows, columns, place), panel, (low, high))
            shades = _contour_axes(figure, (rows, columns, place + 1), panel, (low, high))
    figure.colorbar(shades, ax=figure.axes, shrink=0.7, label="cross-entropy", pad=0.02)
    figure.supxlabel(_caption([panels[0].surface for panels in models]), fontsize=8, parse_math=False)
    return figure


def _surface_axes(
    figure: Figure, place: tuple[int, int, int], panel: _Panel, limits: tuple[float, float]
) -> None:
    axes: Any = figure.add_subplot(*place, projection="3d")
    scaled, unit = _axis(panel.surface)
    a, b = np.meshgrid(scaled, scaled, indexing="ij")
    z = np.ma.masked_invalid(panel.z)
    axes.plot_surface(
        a,
        b,
        z,
        cmap=_COLOURS,
        vmin=limits[0],
        vmax=limits[1],
        rcount=60,
        ccount=60,
        linewidth=0,
        rasterized=True,
    )
    axes.set_zlim(*limits)
    axes.set(xlabel=f"a, along r1{unit}", ylabel=f"b, along r2{unit}")
    axes.set_title(panel.title, fontsize=9, parse_math=False)
    axes.view_init(elev=28, azim=-128)
    axes.tick_params(labelsize=7)


def _contour_axes(
    figure: Figure, place: tuple[int, int, int], panel: _Panel, limits: tuple[float, float]
) -> Any:
    axes = figure.add_subplot(*place)
    scaled, unit = _axis(panel.surface)
    levels = np.linspace(*limits, _LEVELS)
    z = np.ma.masked_invalid(panel.z.T)
    shades = axes.contourf(scaled, scaled, z, levels=levels, cmap=_COLOURS)
    if float(np.nanmax(panel.z)) > float(np.nanmin(panel.z)):
        axes.contour(scaled, scaled, z, levels=levels, colors="black", linewidths=0.3)
    axes.plot(0, 0, marker="+", color="white")
    axes.set(xlabel=f"a, along r1{unit}", ylabel=f"b, along r2{unit}", aspect="equal")
    axes.tick_params(labelsize=7)
    return shades


def _axis(surface: Surface) -> tuple[Any, str]:
    """Offsets in 1/255 where the radius is small, and the unit to say so."""
    if surface.about["threat"]["norm"] == "Linf" and surface.offsets[-1] <= 0.25:
        return surface.offsets * 255, " (1/255)"
    return surface.offsets, ""


def _caption(surfaces: list[Surface]) -> str:
    lines = []
    for surface in surfaces:
        found, about = surface.numbers(), surface.about
        numbers = ", ".join(f"{title} {found[name]:.3g}" for name, (title, _) in NUMBERS.items())
        lines.append(
            f"{plain(Path(about['model']['path']).name)} on {plain(about['data']['name'])}, "
            f"{about['threat']['norm']} eps {eps_text(about['threat']['eps'])}, seed {about['seed']}: {numbers}"
        )
    return "\n".join(lines)
