"""Charts as inline SVG: no script, no style but the page's classes, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 46, 24, 10, 40


@dataclass(frozen=True)
class Axis:
    """One axis: its title, its range, where its ticks are and what they say; `log` for base 10."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`; outside values are held at the ends."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = np.log10(max(value, low)), np.log10(low), np.log10(high)
        return float(np.clip((value - low) / ((high - low) or 1), 0, 1))


class Plot:
    """A drawing on two axes; every `add…` draws over what is there."""

    def __init__(self, title: str, x: Axis, y: Axis, height: int = 260):
        self._title, self._x, self._y, self._height = title, x, y, height
        self._parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point's place in the drawing."""
        wide, high = _WIDTH - _LEFT - _RIGHT, self._height - _TOP - _BOTTOM
        return _LEFT + wide * self._x.share(x), _TOP + high * (1 - self._y.share(y))

    def line(self, xs: Sequence[float] | Floats, ys: Sequence[float] | Floats, style: str) -> None:
        """A line through points; `style` is a class of the page."""
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(self.at, xs, ys))
        self._parts.append(f'<polyline class="{style}" points="{points}"/>')

    def band(self, xs: Floats, low: Floats, high: Floats, style: str) -> None:
        """The area between two lines."""
        around = [*map(self.at, xs, high), *map(self.at, xs[::-1], low[::-1])]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in around)
        self._parts.append(f'<polygon class="{style}" points="{points}"/>')

    def text(self, x: float, y: float, words: str, anchor: str = "start") -> None:
        """Words beside a point."""
        px, py = self.at(x, y)
        self._parts.append(
            f'<text x="{px:.1f}" y="{py - 4:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def svg(self) -> str:
        """The finished drawing."""
        frame = []
        for value, words in self._x.ticks:
            px, py = self.at(value, self._y.low)
            frame.append(f'<path class="grid" d="M{px:.1f} {py:.1f}V{_TOP}"/>')
            frame.append(f'<text x="{px:.1f}" y="{py + 15:.1f}" text-anchor="middle">{escape(words)}</text>')
        for value, words in self._y.ticks:
            px, py = self.at(self._x.low, value)
            frame.append(f'<path class="grid" d="M{px:.1f} {py:.1f}H{_WIDTH - _RIGHT}"/>')
            frame.append(f'<text x="{px - 5:.1f}" y="{py + 4:.1f}" text-anchor="end">{escape(words)}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        frame.append(
            f'<text x="{middle}" y="{self._height - 6}" text-anchor="middle">{escape(self._x.title)}</text>'
        )
        return _svg(self._title, self._height, [*frame, *self._parts])


def _svg(title: str, height: float, parts: list[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def bars(title: str, rows: Sequence[tuple[str, float, float, float, str]]) -> str:
    """Horizontal bars with intervals: (name, value, low, high, class), the numbers in [0, 1]."""
    row, left, right = 28, 110, 150
    wide = _WIDTH - left - right
    parts = []
    for place, (name, value, low, high, style) in enumerate(rows):
        y = row * place + 6
        words = f"{100 * value:.1f} ({100 * low:.1f} … {100 * high:.1f})"
        middle = y + 8
        parts += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{style}" x="{left}" y="{y}" width="{wide * value:.1f}" height="16"/>',
            f'<path class="whisker" d="M{left + wide * low:.1f} {middle}H{left + wide * high:.1f}'
            f'M{left + wide * low:.1f} {middle - 4}v8M{left + wide * high:.1f} {middle - 4}v8"/>',
            f'<text x="{_WIDTH - right + 10}" y="{y + 12}">{words}</text>',
        ]
    return _svg(title, row * len(rows) + 8, parts)


def histogram(title: str, x: Axis, counts: Floats, reference: Floats | None) -> str:
    """Shares by equal bins of the axis, filled; the reference's as an outline."""
    shares = [counts / max(counts.sum(), 1)]
    if reference is not None:
        shares.append(reference / max(reference.sum(), 1))
    most = max(0.05, *(float(item.max()) for item in shares))
    y = Axis("", 0, most, tuple((k * most / 4, f"{100 * k * most / 4:.0f} %") for k in range(5)))
    plot = Plot(title, x, y, 220)
    edges = np.linspace(x.low, x.high, len(counts) + 1)
    for style, values in zip(("fill", "outline"), shares, strict=False):
        xs, ys = np.repeat(edges, 2), np.concatenate([[0], np.repeat(values, 2), [0]])
        if style == "fill":
            plot.band(xs, np.zeros_like(xs), ys, style)
        else:
            plot.line(xs, ys, style)
    return plot.svg()


def tick_steps(high: float, wanted: int = 5) -> tuple[tuple[float, str], ...]:
    """Round ticks from 0 to `high`."""
    raw = max(high, 1e-9) / wanted
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw)
    return tuple((float(value), f"{value:g}") for value in np.arange(0, high + step / 1e6, step))
