"""The curves of a training run as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.errors import RobauditError
from robaudit.files import replacing
from robaudit.reports.drawing import drawing
from robaudit.reports.run_curves import (
    Curve,
    Rows,
    Subject,
    best_epoch,
    column,
    read_log,
    spans,
    subjects,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Epochs that are shaded, and what the shade says.
SHADES = {"masked": ("#c2410c", "masked"), "healing": ("#2e7d32", "treated by the healer")}
#: Of a curve over the batches.
_MOST_POINTS = 20_000
_GREY, _ORANGE, _BLUE, _GREEN = "#5d5f66", "#c2410c", "#3566c0", "#15803d"
#: One colour for one thing in all panels, as on the page (`run_page`); what is not here is blue.
_COLOURS = {
    "clean": _GREY,
    **dict.fromkeys(("PGD-10", "adversarial", "normalised FOSC", "FOSC", "SGCS"), _ORANGE),
    "Square's first queries": _GREEN,
}
_NORMS = {
    "w_grad_norm": "Length of the weights' gradient (Appendix G)",
    "ce_norm": "Length of the clean term's gradient",
    "kl_norm": "Length of the robust term's gradient",
    "grad_cosine_similarity": "Agreement of the gradients before and after a step",
}


def draw_run(folder: Path, out: Path) -> list[Path]:
    """Write the curves over the epochs to `out`, and those over the batches, if there are any, beside it.

    Returns:
        the files written.

    Raises:
        RobauditError: no log, or the place cannot be written.

    """
    rows = read_log(folder)
    written = [_draw(rows, subjects(rows), out, "epoch")]
    if (folder / "batches.jsonl").exists():
        steps = read_log(folder, "batches.jsonl")
        steps = steps[:: -(-len(steps) // _MOST_POINTS)]
        panels = [
            Subject(title, name.replace("_", " "), [Curve(name, column(steps, name))])
            for name, title in _NORMS.items()
        ]
        written.append(_draw(steps, panels, out.with_name(f"{out.stem}-batches{out.suffix}"), "step"))
    return written


def _draw(rows: Rows, panels: list[Subject], out: Path, axis: str) -> Path:
    """Write two columns of panels over one axis; the shades are explained below them."""
    if not panels:
        raise RobauditError(f"{out}: there is no finite number to be drawn")
    try:
        with drawing(), replacing(out) as partial:
            figure = _figure(rows, panels, axis)
            figure.savefig(partial, dpi=120, format=out.suffix.removeprefix(".") or "png")
    except (OSError, ValueError) as error:
        raise RobauditError(f"{out}: cannot be written ({error}); give a .png, .pdf or .svg file") from error
    return out


def _figure(rows: Rows, panels: list[Subject], axis: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    lines = -(-len(panels) // 2)
    figure = Figure(figsize=(14, 3 * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    plots = list(figure.subplots(lines, 2, squeeze=False).flat)
    places = [row[axis] for row in rows]
    for plot, panel in zip(plots, panels, strict=False):
        _panel(plot, panel, places)
        plot.set_xlabel(axis)
        _shade(plot, rows, axis)
    for plot in plots[len(panels) :]:
        plot.set_visible(False)
    _explain(figure, rows)
    return figure


def _panel(plot: Any, panel: Subject, places: list[int]) -> None:
    for curve in panel.curves:
        colour = _COLOURS.get(curve.name, _BLUE)
        marker = "o" if len(places) == 1 else ""
        label = curve.name.replace(", ", ",\n")  # the legend stands beside the panel, and takes its place
        plot.plot(places, curve.values, label=label, color=colour, marker=marker)
        if curve.low and marker:
            plot.vlines(places, curve.low, curve.high, color=colour, alpha=0.4)
        elif curve.low:
            plot.fill_between(places, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    if panel.share:
        plot.set_ylim(0, 1)
    if panel.log:
        plot.set_yscale("log")
    plot.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if len(places) == 1:
        plot.set_xlim(places[0] - 1, places[0] + 1)
        plot.set_ylim(bottom=min(0.0, plot.get_ylim()[0]))
    plot.set_title(panel.title, fontsize=10)
    plot.set_ylabel(panel.scale, fontsize=9)
    plot.grid(alpha=0.3)
    if len(panel.curves) > 1:  # beside the curves, where it covers nothing
        plot.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.3, frameon=False)


def _shade(plot: Any, rows: Rows, axis: str) -> None:
    for name, (colour, _) in SHADES.items():
        wide = [(start, end - start) for start, end in spans(rows, name, axis)]
        across = plot.get_xaxis_transform()
        plot.broken_barh(wide, (0, 1), transform=across, color=colour, alpha=0.14, linewidth=0)
    best = best_epoch(rows)
    if best and axis == "epoch":
        plot.axvline(best, color="black", linewidth=0.9, linestyle=":")


def _explain(figure: Figure, rows: Rows) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    keys: list[Any] = [
        Patch(color=colour, alpha=0.25, label=f"shaded: {words}")
        for name, (colour, words) in SHADES.items()
        if any(row.get(name) for row in rows)
    ]
    best = best_epoch(rows)
    if best:
        keys.append(Line2D([], [], color="black", linestyle=":", label=f"kept as the best: epoch {best}"))
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=9, frameon=False)
