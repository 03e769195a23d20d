"""Charts as inline SVG: no script, no style but the page's classes, nothing fetched; readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.reports.templates import markup

Floats = NDArray[np.float64]

#: As wide as a phone shows at a size that can be read.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 48, 16, 26, 42
#: At most as wide as a character is.
_CHARACTER = 8.0
#: Characters of a name beside which its numbers have room.
_LONGEST_NAME = 26


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
        """A line through points; `style` is classes of the page."""
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(self.at, xs, ys))
        self._parts.append(markup('<polyline class="{}" points="{}"/>', style, Markup(points)))

    def band(self, xs: Floats, low: Floats, high: Floats, style: str) -> None:
        """The area between two lines."""
        around = [*map(self.at, xs, high), *map(self.at, xs[::-1], low[::-1])]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in around)
        self._parts.append(markup('<polygon class="{}" points="{}"/>', style, Markup(points)))

    def point(self, x: float, y: float, low: float, high: float, style: str) -> None:
        """A dot with its interval."""
        (px, py), (_, bottom), (_, top) = self.at(x, y), self.at(x, low), self.at(x, high)
        self._parts.append(
            markup(
                '<path class="whisker" d="M{a:.1f} {b:.1f}V{c:.1f}"/>'
                '<circle class="{s}" cx="{a:.1f}" cy="{y:.1f}" r="4"/>',
                a=px, b=bottom, c=top, s=style, y=py,
            )
        )  # fmt: skip

    def dot(self, x: float, y: float, style: str, words: str) -> None:
        """A dot that says what it is to whoever points at it."""
        px, py = self.at(x, y)
        self._parts.append(
            markup(
                '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>',
                style,
                px,
                py,
                words,
            )
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start") -> None:
        """Words beside a point."""
        px, py = self.at(x, y)
        self._parts.append(_text(px, py - 5, words, anchor))

    def svg(self) -> Markup:
        """The finished drawing."""
        frame = [_text(0, 13, self._y.title, "start")] if self._y.title else []
        for value, words in self._x.ticks:
            px, py = self.at(value, self._y.low)
            frame.append(markup('<path class="grid" d="M{:.1f} {:.1f}V{}"/>', px, py, _TOP))
            frame.append(_text(min(px, _WIDTH - _CHARACTER * len(words) / 2), py + 16, words, "middle"))
        for value, words in self._y.ticks:
            px, py = self.at(self._x.low, value)
            frame.append(markup('<path class="grid" d="M{:.1f} {:.1f}H{}"/>', px, py, _WIDTH - _RIGHT))
            frame.append(_text(px - 5, py + 4, words, "end"))
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        frame.append(_text(middle, self._height - 6, self._x.title, "middle"))
        return svg(self._title, self._height, [*frame, *self._parts])


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', x, y, anchor, words)


def svg(title: str, height: float, parts: Sequence[Markup], width: float = _WIDTH) -> Markup:
    """A drawing with its title, which is also said aloud."""
    return markup(
        '<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{title}"><title>{title}</title>{}</svg>',
        width,
        height,
        Markup("").join(parts),
        title=title,
    )


def bars(title: str, rows: Sequence[tuple[str, float, float, float, str]]) -> Markup:
    """Horizontal bars with intervals: (name, value, low, high, class), the numbers in [0, 1].

    The name and the numbers stand above each bar, so they never meet it.
    """
    row, left = 42, 6
    wide = _WIDTH - 2 * left
    bottom = row * len(rows)
    parts = [
        markup('<path class="grid" d="M{:.1f} 0V{}"/>', left + wide * share, bottom + 4)
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    for place, (name, value, low, high, style) in enumerate(rows):
        y = row * place
        words = f"{100 * value:.1f} ({100 * low:.1f} … {100 * high:.1f})"
        middle = y + 29
        short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        parts += [
            _text(left, y + 15, short, "start"),
            _text(_WIDTH - left, y + 15, words, "end"),
            markup(
                '<rect class="{}" x="{}" y="{}" width="{:.1f}" height="16"/>',
                style,
                left,
                y + 21,
                wide * value,
            ),
            markup(
                '<path class="whisker" d="M{a:.1f} {m}H{b:.1f}M{a:.1f} {e}v8M{b:.1f} {e}v8"/>',
                a=left + wide * low,
                b=left + wide * high,
                m=middle,
                e=middle - 4,
            ),
        ]
    parts += [
        _text(left, bottom + 19, "0 %", "start"),
        _text(left + wide / 2, bottom + 19, "50 %", "middle"),
        _text(_WIDTH - left, bottom + 19, "100 %", "end"),
    ]
    return svg(title, bottom + 26, parts)


def histogram(title: str, x: Axis, counts: Floats, reference: Floats | None, style: str = "fill") -> Markup:
    """Shares by equal bins of the axis, filled in the colour of `style`; the reference's as an outline."""
    shares = [counts / max(counts.sum(), 1)]
    if reference is not None:
        shares.append(reference / max(reference.sum(), 1))
    highest = 100 * max(0.05, *(float(item.max()) for item in shares))
    step = tick_steps(highest)[1][0]
    lines = int(np.ceil(highest / step - 1e-9))
    ticks = tuple((k * step / 100, f"{k * step:g} %") for k in range(lines + 1))
    y = Axis("share of the examples", 0, ticks[-1][0], ticks)
    plot = Plot(title, x, y, 240)
    edges = np.linspace(x.low, x.high, len(counts) + 1)
    for kind, values in zip((style, "outline"), shares, strict=False):
        xs, ys = np.repeat(edges, 2), np.concatenate([[0], np.repeat(values, 2), [0]])
        if kind == "outline":
            plot.line(xs, ys, kind)
        else:
            plot.band(xs, np.zeros_like(xs), ys, kind)
    return plot.svg()


def tick_steps(high: float, wanted: int = 5) -> tuple[tuple[float, str], ...]:
    """Round ticks from 0 to `high`."""
    raw = max(high, 1e-9) / wanted
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw)
    return tuple((float(value), f"{value:g}") for value in np.arange(0, high + step / 1e6, step))
