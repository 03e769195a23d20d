"""What is shown of a loss surface: which images, on which scale, and what the numbers under it mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robaudit.escaping import plain
from robaudit.evidence import Surface
from robaudit.reports.formatting import eps_text

Floats = NDArray[np.float64]

#: A loss that moves less than this, in nats, is drawn as flat.
FLAT = 1e-3
#: A surface of which half lies within this share of its range above its lowest point is drawn on a logarithmic scale,
#: down to this share of its highest point.
_LOW_HALF, _DECADES = 0.02, 1e-4
#: name in `Surface.numbers`: title, what it says, and which way is bad.
NUMBERS: dict[str, tuple[str, str, str]] = {
    "roughness": (
        "roughness",
        "up and down along r1 beyond the net change, in units of log K",
        "higher is worse, honest: 0",
    ),
    "falling": (
        "falling steps",
        "share of the steps along r1 at which the loss falls; all where there is no gradient",
        "higher is worse, honest: 0",
    ),
    "nonlinearity": (
        "linearity error",
        "largest deviation from the tangent plane, in units of log K",
        "higher is worse, honest: below 1",
    ),
    "no_gradient": (
        "no gradient",
        "share of images whose gradient is exactly zero",
        "higher is worse, honest: 0",
    ),
    "boundary": (
        "boundary in view",
        "share of images, right at the centre, that are misclassified somewhere in the window",
        "bad where the loss is flat",
    ),
}
_SHARES = ("falling", "no_gradient", "boundary")
#: In one sentence, for whoever has never seen one.
HOW_TO_READ = (
    "An honest surface is smooth, rises along r1 and is highest where the class changes. A masked one is rugged, or "
    "lies flat while the decision boundary runs through the picture."
)


@dataclass(frozen=True)
class Shown:
    """One surface (A, A) and its margin, and whose they are."""

    title: str
    loss: Floats
    margin: Floats


@dataclass(frozen=True)
class Scale:
    """From losses to heights: linear, or base 10 from `low` upwards."""

    low: float
    high: float
    log: bool = False
    flat: bool = False

    def heights(self, loss: Floats) -> Floats:
        """In the units that are drawn: the loss, or its logarithm; NaN stays NaN."""
        held = np.clip(loss, self.low, self.high)
        return np.asarray(np.log10(held) if self.log else held)

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest height."""
        low, high = self.heights(np.array([self.low, self.high]))
        return float(low), float(high)

    @property
    def caption(self) -> str:
        """What a reader must know of the scale."""
        if self.flat:
            return f"flat: all within {FLAT:g}"
        kind = "log scale" if self.log else "linear scale"
        return f"{kind}, {number(self.low)} to {number(self.high)}"

    def ticks(self) -> list[tuple[float, str]]:
        """Heights that a person would choose, and what stands there."""
        low, high = self.ends
        if self.log:
            first, last = int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9))
            return [(float(k), f"{10.0**k:g}") for k in range(first, last + 1)]
        raw = (high - low) / 4
        size = 10.0 ** np.floor(np.log10(raw))
        step = next(size * k for k in (1, 2, 2.5, 5, 10) if size * k >= raw * 0.999)
        values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
        return [(float(value), f"{value + 0.0:.6g}") for value in values]


def scale_of(loss: Floats) -> Scale:
    """The scale on which a surface's shape shows."""
    finite = loss[np.isfinite(loss)]
    if not finite.size:
        return Scale(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if high - low < FLAT:
        middle = (low + high) / 2
        bottom = max(0.0, middle - FLAT / 2)
        return Scale(bottom, bottom + FLAT, flat=True)
    if high > 1 and float(np.median(finite)) - low < _LOW_HALF * (high - low):
        return Scale(max(low, high * _DECADES), high, log=True)
    return Scale(low, high)


def shown(surface: Surface, which: str = "typical") -> list[Shown]:
    """The surfaces to draw.

    Args:
        surface: of one or more images.
        which: `typical`: the image of median ruggedness and the most rugged one; `mean`: the mean of all; `each`.

    """
    if which == "mean" and len(surface) > 1:
        return [
            Shown(f"mean of {len(surface)} images", surface.mean(), np.asarray(surface.margin.mean(axis=0)))
        ]
    if which == "each":
        chosen = [(place, "") for place in range(len(surface))]
    else:
        median, most = typical(surface)
        chosen = (
            [(median, "median image, "), (most, "most rugged image, ")] if median != most else [(most, "")]
        )
    return [
        Shown(
            f"{words}example {surface.ids[place]} (class {surface.labels[place]})",
            surface.loss[place],
            surface.margin[place],
        )
        for place, words in chosen
    ]


def typical(surface: Surface) -> tuple[int, int]:
    """The places of the images of median and of most ruggedness, among those that are classified right if any is."""
    order = surface.by_ruggedness()
    right = [place for place in order if surface.predictions[place] == surface.labels[place]]
    order = right or order
    return order[(len(order) - 1) // 2], order[-1]


def numbers_of(surface: Surface) -> dict[str, str]:
    """`Surface.numbers` by the names of `NUMBERS`, as text."""
    found = surface.numbers()
    return {
        name: f"{100 * found[name]:.3g} %" if name in _SHARES else number(found[name]) for name in NUMBERS
    }


def axis_of(surface: Surface) -> tuple[Floats, str]:
    """Offsets in 1/255 where the radius is small, and the unit to say so."""
    norm = surface.about["threat"]["norm"]
    if norm == "Linf" and surface.offsets[-1] <= 0.25:
        return surface.offsets * 255, "1/255"
    return surface.offsets, "L2 length" if norm == "L2" else "input range"


def directions(surfaces: Sequence[Surface]) -> str:
    """What the axes are, in one sentence."""
    length = ", both of length 1" if surfaces[0].about["threat"]["norm"] == "L2" else ""
    zero = (
        ""
        if all(surface.has_gradient.all() for surface in surfaces)
        else " (of the margin's, downhill, where the loss has exactly none)"
    )
    return (
        f"Cross-entropy at x + a r1 + b r2: r1 is the sign of the loss's gradient at the image x{zero}, r2 random signs"
        f"{length}; x is in the middle."
    )


def subject(surface: Surface) -> str:
    """The model, the data and the radius, in one line."""
    about = surface.about
    return (
        f"{name_of(surface)} on {plain(about['data']['name'])}, {plain(about['threat']['norm'])} eps "
        f"{eps_text(about['threat']['eps'])}, {len(surface)} images, seed {plain(about.get('seed', ''))}"
    )


def name_of(surface: Surface) -> str:
    """The checkpoint's file."""
    return plain(Path(surface.about["model"]["path"]).name)


def number(value: float) -> str:
    """Three digits, and nothing like 1e+02 or 3e-08."""
    value += 0.0  # no minus before a zero
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.3g}"
        if abs(value) >= 1e-4 or not value
        else "<0.0001"
    )
