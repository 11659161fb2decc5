"""Plots as SVG, small enough to need no library.

Scatter plots stand in a page and have its colours; dot plots are files of their own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 250
"""Of a scatter plot or histogram: narrow, so that a telephone shows its letters at their size or larger."""

LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
"""Margins around the frame, in SVG's pixels."""

MOST_BINS = 24

MARK_RADIUS = 3.5
MOST_POINTS = 2000
"""Of a series; a page with more would be slow. Every so many-th point is left, and the page says so."""


SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#b8a800", "#000000", "#8c8c8c")
"""Of a dot plot's series; told apart by all kinds of colour vision (Okabe and Ito, 2008; the yellow is darker)."""


@dataclass(frozen=True)
class Points:
    """Values drawn as marks, each with a text shown when the pointer rests on it.

    Attributes:
        style: CSS class of the marks, which gives them their colour.
        x: Values to the right, (point).
        y: Values upwards, (point).
        texts: One per point.
    """

    style: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    texts: Sequence[str]


@dataclass(frozen=True)
class Line:
    """A line through points.

    Attributes:
        style: CSS class of the line.
        x: (point).
        y: (point).
    """

    style: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Scale:
    """Data from ``low`` to ``high`` along one side of the frame, in SVG's pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clipped(self, value: float) -> float:
        """Give the place of a value, on the frame where it lies beyond."""
        return self(min(max(value, self.low), self.high))


def scatter(
    points: Sequence[Points],
    lines: Sequence[Line] = (),
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    """Draw points and lines as an SVG element.

    A point beyond the ranges is drawn on the frame, as a triangle, and the plot says so.

    Args:
        points: Later ones over earlier ones.
        lines: Drawn below the points.
        title: What the plot shows, for those who cannot see it.
        x_label: Quantity to the right.
        y_label: Quantity upwards.
        x_range: Least and greatest value to the right; the first is less.
        y_range: Likewise upwards.
    """
    x = Scale(*x_range, LEFT, WIDTH - RIGHT)
    y = Scale(*y_range, HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, title, x_label, y_label)
    parts += [_line(line, x, y) for line in lines]
    marks = [mark for series in points for mark in _marks(series, x, y)]
    parts += marks
    if any("<path" in mark for mark in marks):
        parts.append(f'<text x="{x.start + 10}" y="{y.end + 14}">▲ beyond the scale</text>')
    return "".join(parts) + "</svg>"


def distribution_plot(
    values: NDArray[np.float64], marked: NDArray[np.bool_], *, title: str, x_label: str, y_label: str
) -> str:
    """Draw how whole numbers are distributed as an SVG element: bars of class ``model``, the marked upon the others.

    Args:
        values: Whole numbers, at least one, (value).
        marked: Which of them are drawn with class ``flagged``, (value).
        title: What it shows, for those who cannot see it.
        x_label: What the numbers are.
        y_label: What is counted.
    """
    edges = _edges(float(values.min()), float(values.max()))
    plain, other = (np.histogram(values[which], edges)[0] for which in (~marked, marked))
    most = float((plain + other).max())
    x = Scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT)
    y = Scale(0, 1.05 * most, HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, title, x_label, y_label)
    for left, right, *numbers in zip(edges, edges[1:], plain, other, strict=False):
        within = f"{left:g}" if right - left == 1 else f"{left:g} to {right - 1:g}"
        below = 0.0
        for style, number in zip(("model", "flagged"), numbers, strict=True):
            if number:
                top, bottom = y(below + float(number)), y(below)
                told = f"{within}: {number} {y_label}" + ", flagged" * (style == "flagged")
                parts.append(
                    f'<rect class="{style}" x="{x(left) + 0.5:.1f}" y="{top:.1f}" width="{x(right) - x(left) - 1:.1f}" '
                    f'height="{bottom - top:.1f}"><title>{escape(told)}</title></rect>'
                )
                below += float(number)
    return "".join(parts) + "</svg>"


def _edges(low: float, high: float) -> list[float]:
    """Choose bins of 1, 2 or 5 times a power of ten whole numbers, at most MOST_BINS; each ends before the next begins.

    >>> _edges(3, 5), _edges(0, 99)[:3]
    ([3.0, 4.0, 5.0, 6.0], [0.0, 5.0, 10.0])
    """
    steps = (step * 10.0**power for power in range(13) for step in (1, 2, 5))
    for step in steps:
        first, last = math.floor(low / step), math.floor(high / step) + 1
        if last - first <= MOST_BINS:
            break
    return [k * step for k in range(first, last + 1)]


def _frame(x: Scale, y: Scale, title: str, x_label: str, y_label: str) -> list[str]:
    """Begin a plot: its element, its grid, and what its sides say."""
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for value in ticks(x.low, x.high, 6):
        parts.append(f'<path class="grid" d="M{x(value):.1f} {y.start}V{y.end}"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{y.start + 18}" text-anchor="middle">{_shown(value)}</text>')
    for value in ticks(y.low, y.high, 6):
        parts.append(f'<path class="grid" d="M{x.start} {y(value):.1f}H{x.end}"/>')
        parts.append(f'<text x="{x.start - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{_shown(value)}</text>')
    middle_x, middle_y = (x.start + x.end) / 2, (y.start + y.end) / 2
    parts.append(f'<text class="axis" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f'transform="translate(14 {middle_y}) rotate(-90)"'
    parts.append(f'<text class="axis" {turned} text-anchor="middle">{escape(y_label)}</text>')
    return parts


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Choose round values, 1, 2 or 5 times a power of ten apart, at most so many, from ``low`` to a greater ``high``.

    >>> ticks(0, 110), ticks(-0.3, 0.2)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(k * step, 12) for k in range(first, last + 1)]


def _shown(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _line(line: Line, x: Scale, y: Scale) -> str:
    places = (f"{x.clipped(right):.1f} {y.clipped(up):.1f}" for right, up in zip(line.x, line.y, strict=True))
    return f'<path class="line {line.style}" d="M{"L".join(places)}"/>'


def _marks(points: Points, x: Scale, y: Scale) -> list[str]:
    marks = []
    for right, up, text in list(zip(points.x, points.y, points.texts, strict=True))[:: _step(len(points.x))]:
        inside = x.low <= right <= x.high and y.low <= up <= y.high
        place_x, place_y = x.clipped(right), y.clipped(up)
        shape = (
            f'circle cx="{place_x:.1f}" cy="{place_y:.1f}" r="{MARK_RADIUS}"'
            if inside
            else f'path d="M{place_x:.1f} {place_y:.1f}l4 7h-8z"'
        )
        kind = shape.partition(" ")[0]
        marks.append(f'<{shape} class="{points.style}"><title>{escape(text)}</title></{kind}>')
    return marks


def _step(number: int) -> int:
    """Draw every so many-th of a number of points.

    >>> _step(0), _step(MOST_POINTS), _step(MOST_POINTS + 1)
    (1, 1, 2)
    """
    return max(1, -(-number // MOST_POINTS))


@dataclass(frozen=True)
class Dots:
    """A series of a dot plot.

    Attributes:
        name: Shown in the legend.
        values: Row of the plot -> low end, middle and high end; greater than 0 on a logarithmic scale.
    """

    name: str
    values: Mapping[str, tuple[float, float, float]]


def dot_plot(
    series: Sequence[Dots], *, title: str, x_label: str, marked: Sequence[float] = (), linear: bool = False
) -> str:
    """Draw values on a logarithmic scale, a row for each name, as an SVG file of its own.

    Args:
        series: One at least; rows are in the order in which they first appear. After nine, colours repeat.
        title: What the plot shows, for those who cannot see it.
        x_label: Quantity to the right.
        marked: Values that a line is drawn at.
        linear: Take a linear scale, on which values may be of either sign.
    """
    place = float if linear else math.log10
    names = list(dict.fromkeys(name for dots in series for name in dots.values))
    numbers = [number for dots in series for ends in dots.values.values() for number in ends]
    low, high = place(min([*numbers, *marked])), place(max([*numbers, *marked]))
    gap = 0.03 * (high - low) or 0.02
    gap = gap if linear else max(gap, 0.02)
    x = Scale(low - gap, high + gap, 210, 740)
    top, step = 24 + 18 * -(-len(series) // 2), 11
    height = max(26, step * (len(series) + 1))
    bottom = top + height * len(names)
    view = f'viewBox="0 0 760 {bottom + 46}" role="img" aria-label="{escape(title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view}>',
        "<style>text { font: 12px sans-serif; fill: #333 } path { stroke: #ddd } .mark { stroke: #777 }</style>",
        f'<rect width="760" height="{bottom + 46}" fill="#fff"/>',
    ]
    for value in ticks(x.low, x.high) if linear else _powers(10**x.low, 10**x.high):
        parts.append(f'<path d="M{x(place(value)):.1f} {top}V{bottom}"/>')
        parts.append(f'<text x="{x(place(value)):.1f}" y="{bottom + 18}" text-anchor="middle">{_shown(value)}</text>')
    parts += [f'<path class="mark" d="M{x(place(value)):.1f} {top}V{bottom}"/>' for value in marked]
    for k, name in enumerate(names):
        parts.append(f'<path d="M{x.start} {top + k * height}H{x.end}"/>')
        parts.append(f'<text x="200" y="{top + (k + 0.5) * height + 4:.1f}" text-anchor="end">{escape(name)}</text>')
    for k, dots in enumerate(series):
        colour, left, down = SERIES_COLOURS[k % len(SERIES_COLOURS)], 20 + 370 * (k % 2), 18 + 18 * (k // 2)
        parts.append(f'<circle cx="{left}" cy="{down}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{left + 10}" y="{down + 4}">{escape(dots.name)}</text>')
        for name, ends in dots.values.items():
            y = top + names.index(name) * height + step * (k + 1)
            start, middle, end = (x(place(number)) for number in ends)
            told = f"<title>{escape(f'{name}, {dots.name}: {ends[1]:.3g}')}</title>"
            parts.append(f'<path d="M{start:.1f} {y}H{end:.1f}" style="stroke: {colour}; stroke-width: 2"/>')
            parts.append(f'<circle cx="{middle:.1f}" cy="{y}" r="4" fill="{colour}">{told}</circle>')
    parts.append(f'<text x="{(x.start + x.end) / 2}" y="{bottom + 38}" text-anchor="middle">{escape(x_label)}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def _powers(low: float, high: float) -> list[float]:
    """Choose 1, 2 and 5 times the powers of ten within a range, or the powers alone where those are many.

    >>> _powers(0.4, 12), _powers(0.02, 2e4)
    ([0.5, 1.0, 2.0, 5.0, 10.0], [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) < 6 else (1,)
    return [value for power in powers for step in steps if low <= (value := float(f"{step}e{power}")) <= high]
