"""The curves of a training run, as in Figures 2 to 7 of Li et al., from its log alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robaudit.errors import RobauditError
from robaudit.files import read_text, replacing

Rows = list[dict[str, Any]]

#: Figure 2 scales FOSC up so that it can be seen beside the accuracies.
_SCALE = 10
#: Bytes of a log.
_LARGEST = 1 << 28
_NORMS = ("w_grad_norm", "ce_norm", "kl_norm", "grad_cosine_similarity")


def read_log(folder: Path, name: str = "log.jsonl") -> Rows:
    """The objects of a run's log, an epoch each.

    Raises:
        RobauditError: there is no log, or it is damaged.

    """
    path = folder / name
    try:
        rows: Rows = [_row(json.loads(line)) for line in read_text(path, _LARGEST).splitlines()]
    except OSError as error:
        raise RobauditError(f"{path}: cannot be read ({error.strerror}); give the folder of a run") from error
    except (ValueError, RecursionError) as error:
        raise RobauditError(f"{path}: is damaged ({error}); resume the run, which writes it anew") from error
    if not rows:
        raise RobauditError(f"{path}: no epoch is finished yet; resume it with `robaudit train`")
    return rows


def _row(row: Any) -> dict[str, Any]:
    """An epoch's numbers, and why the network is held to be masked, or a ValueError."""
    if not isinstance(row, dict) or not all(
        item is None or isinstance(item, str if name == "reason" else int | float)
        for name, item in row.items()
    ):
        raise ValueError("a line is not an object of numbers")
    return row


def draw_run(folder: Path, out: Path) -> list[Path]:
    """Write the curves over the epochs to `out`, and those over the batches, if there are any, beside it.

    Returns:
        the files written.

    Raises:
        RobauditError: no log, or the place cannot be written.

    """
    rows = read_log(folder)
    panels = [
        ("PGD-10 accuracy, FOSC, SGCS (Figures 2 and 7)", _convergence(rows)),
        ("FOSC and the gap of training accuracies (Figure 3)", _gap(rows)),
        ("Normalised FOSC, and what the healer did (Figure 6)", _healing(rows)),
        ("Training accuracy and gradient norm (Figure 5)", _training(rows)),
    ]
    written = [_draw(rows, panels, out, "epoch")]
    if (folder / "batches.jsonl").exists():
        steps = read_log(folder, "batches.jsonl")
        curves = [(name, [(name, [row[name] for row in steps])]) for name in _NORMS]
        written.append(_draw(steps, curves, out.with_name(f"{out.stem}-batches{out.suffix}"), "step"))
    return written


Curves = list[tuple[str, list[float]]]


def _column(rows: Rows, name: str, scale: float = 1.0) -> list[float]:
    return [scale * float(row.get(name, "nan")) for row in rows]


def _convergence(rows: Rows) -> Curves:
    fosc = (f"FOSC × {_SCALE}", _column(rows, "fosc", _SCALE))
    return [fosc, ("SGCS", _column(rows, "sgcs")), ("PGD-10", _column(rows, "pgd10"))]


def _gap(rows: Rows) -> Curves:
    return [("FOSC", _column(rows, "fosc")), ("clean − adversarial", _column(rows, "train_gap"))]


def _healing(rows: Rows) -> Curves:
    before = [float(row.get("fosc_normalised_before", "nan")) for row in rows]
    return [
        ("normalised FOSC", _column(rows, "fosc_normalised")),
        ("rolled back", before),
        ("PGD-10", _column(rows, "pgd10")),
    ]


def _training(rows: Rows) -> Curves:
    curves = [("clean", _column(rows, "train_clean")), ("adversarial", _column(rows, "train_adv"))]
    if any("w_grad_norm" in row for row in rows):
        curves.append(("gradient norm × 0.3", _column(rows, "w_grad_norm", 0.3)))
    return curves


def _draw(rows: Rows, panels: list[tuple[str, Curves]], out: Path, axis: str) -> Path:
    """Four panels over one axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    places = [row[axis] for row in rows]
    for plot, (title, curves) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name, values in curves:
            lonely = name == "rolled back"
            plot.plot(
                places, values, label=name, marker="x" if lonely else "", linestyle="" if lonely else "-"
            )
        for row in rows:
            if row.get("masked") or row.get("healing"):
                plot.axvspan(
                    row[axis] - 0.5, row[axis] + 0.5, color="red" if row["masked"] else "green", alpha=0.12
                )
        plot.set_title(title, fontsize=10)
        plot.set_xlabel(axis)
        plot.legend(fontsize=8)
        plot.grid(alpha=0.3)
    try:
        with replacing(out) as partial:
            figure.savefig(partial, dpi=120, format=out.suffix.removeprefix(".") or "png")
    except (OSError, ValueError) as error:
        raise RobauditError(f"{out}: cannot be written ({error}); give a .png, .pdf or .svg file") from error
    return out
