"""Charts as inline SVG: no script, no style but the page's classes, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.reports.templates import markup

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
        self._parts: list[Markup] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point's place in the drawing."""
        wide, high = _WIDTH - _LEFT - _RIGHT, self._height - _TOP - _BOTTOM
        return _LEFT + wide * self._x.share(x), _TOP + high * (1 - self._y.share(y))

    def line(self, xs: Sequence[float] | Floats, ys: Sequence[float] | Floats, style: str) -> None:
        """A line through points; `style` is a class of the page."""
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(self.at, xs, ys))
        self._parts.append(markup('<polyline class="{}" points="{}"/>', style, Markup(points)))

    def band(self, xs: Floats, low: Floats, high: Floats, style: str) -> None:
        """The area between two lines."""
        around = [*map(self.at, xs, high), *map(self.at, xs[::-1], low[::-1])]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in around)
        self._parts.append(markup('<polygon class="{}" points="{}"/>', style, Markup(points)))

    def text(self, x: float, y: float, words: str, anchor: str = "start") -> None:
        """Words beside a point."""
        px, py = self.at(x, y)
        self._parts.append(_text(px, py - 4, words, anchor))

    def svg(self) -> Markup:
        """The finished drawing."""
        frame = []
        for value, words in self._x.ticks:
            px, py = self.at(value, self._y.low)
            frame.append(markup('<path class="grid" d="M{:.1f} {:.1f}V{}"/>', px, py, _TOP))
            frame.append(_text(px, py + 15, words, "middle"))
        for value, words in self._y.ticks:
            px, py = self.at(self._x.low, value)
            frame.append(markup('<path class="grid" d="M{:.1f} {:.1f}H{}"/>', px, py, _WIDTH - _RIGHT))
            frame.append(_text(px - 5, py + 4, words, "end"))
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        frame.append(_text(middle, self._height - 6, self._x.title, "middle"))
        return _svg(self._title, self._height, [*frame, *self._parts])


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', x, y, anchor, words)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return markup(
        '<svg class="chart" viewBox="0 0 {} {:g}" role="img" aria-label="{title}"><title>{title}</title>{}</svg>',
        _WIDTH,
        height,
        Markup("").join(parts),
        title=title,
    )


def bars(title: str, rows: Sequence[tuple[str, float, float, float, str]]) -> Markup:
    """Horizontal bars with intervals: (name, value, low, high, class), the numbers in [0, 1]."""
    row, left, right = 28, 110, 150
    wide = _WIDTH - left - right
    parts = []
    for place, (name, value, low, high, style) in enumerate(rows):
        y = row * place + 6
        words = f"{100 * value:.1f} ({100 * low:.1f} … {100 * high:.1f})"
        middle = y + 8
        start, end = left + wide * low, left + wide * high
        parts += [
            _text(left - 8, y + 12, name, "end"),
            markup(
                '<rect class="{}" x="{}" y="{}" width="{:.1f}" height="16"/>', style, left, y, wide * value
            ),
            markup(
                '<path class="whisker" d="M{a:.1f} {m}H{b:.1f}M{a:.1f} {e}v8M{b:.1f} {e}v8"/>',
                a=start,
                b=end,
                m=middle,
                e=middle - 4,
            ),
            _text(_WIDTH - right + 10, y + 12, words, "start"),
        ]
    return _svg(title, row * len(rows) + 8, parts)


def histogram(title: str, x: Axis, counts: Floats, reference: Floats | None) -> Markup:
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
