"""Line charts as SVG text, coloured by the style sheet of the page.

No plotting library: a chart is a few polylines, which as SVG follow the reader's light or dark mode. Colours are the
classes `series-0` … of the page's style sheet; every point shows its numbers on hover.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH, HEIGHT = 560, 240  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 26  # margins for the axes' numbers
TICKS: Final = 4
PADDING: Final = 0.06  # of the range of values, left free above and below
DECADE: Final = 10.0
THOUSAND: Final = 1_000
MILLION: Final = 1_000_000
SMALL: Final = 1e-3  # below, numbers are written with an exponent
ROUND_STEPS: Final = (1, 2, 5, 10)
POINT_RADIUS: Final = 2.2
ABOVE_LINE, BELOW_LINE = 6, 13  # distance of a reference's name
COLOURS: Final = 8  # of the page's style sheet; further curves take them again, dashed
ROOM_FOR_UNIT: Final = 60  # at the right end of the horizontal axis


@dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        points: (samples seen, value), in order.
        band: (samples seen, low, high) around it; none by default.
        number: of its colour, to be the same in several charts; its place in the chart by default.
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    number: int | None = None

    def colour(self, place: int) -> int:
        """Number of the colour of the curve at a place of a chart."""
        return place if self.number is None else self.number


@dataclass(frozen=True)
class Reference:
    """A value to compare with, drawn as a dashed line."""

    name: str
    value: float


@dataclass(frozen=True)
class Mark:
    """A moment, drawn as a vertical line."""

    samples: float
    name: str


@dataclass(frozen=True)
class Chart:
    """What to draw.

    Attributes:
        name: of the chart, an identifier within its page.
        caption: how to read it, a sentence.
        series: at least one curve with a point.
        logarithmic: whether the vertical axis is; then all values are positive.
    """

    name: str
    title: str
    caption: str
    series: Sequence[Series]
    references: Sequence[Reference] = field(default_factory=tuple)
    logarithmic: bool = False


def draw(chart: Chart, total_samples: int, marks: Sequence[Mark] = ()) -> str:
    """Draw a chart.

    Args:
        total_samples: the right end of the horizontal axis.

    Returns:
        An `<svg>` element.
    """
    low, high = _range(chart)
    across, up = _linear(0, total_samples, LEFT, WIDTH - RIGHT), _scale(low, high, logarithmic=chart.logarithmic)
    parts = [_axes(low, high, across, up, total_samples, logarithmic=chart.logarithmic)]
    for reference in chart.references:
        y = up(reference.value)
        parts.append(f'<line class="reference" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts += [_curve(series, series.colour(place), across, up) for place, series in enumerate(chart.series)]
    for reference in chart.references:  # over the curves, which run along them
        y = up(reference.value)
        y += -ABOVE_LINE if y < (TOP + HEIGHT - BOTTOM) / 2 else BELOW_LINE  # away from what lies between references
        parts.append(f'<text class="reference" x="{WIDTH - RIGHT - 4}" y="{y:.1f}">{escape(reference.name)}</text>')
    for mark in marks:
        x = across(mark.samples)
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{escape(mark.name)}</title></line>"
        )
    label = escape(chart.title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def number(value: float) -> str:
    """Format a number for people.

    Returns:
        Such as `0.53`, `2e-05`, `6,400`, `1.2M`.
    """
    size = abs(value)
    if size >= MILLION:
        return f"{value / MILLION:.3g}M"
    if size >= THOUSAND:
        return f"{value:,.0f}"
    if 0 < size < SMALL:
        return f"{value:.0e}"
    return f"{value:.3g}"


def _range(chart: Chart) -> tuple[float, float]:
    """Range of the vertical axis, with padding."""
    values = [value for series in chart.series for _, value in series.points]
    values += [end for series in chart.series for _, *ends in series.band for end in ends]
    values += [reference.value for reference in chart.references]
    low, high = min(values), max(values)
    if chart.logarithmic:
        return DECADE ** math.floor(math.log10(low)), DECADE ** math.ceil(math.log10(high) + PADDING)
    room = PADDING * (high - low) or 1.0
    return low - room, high + room


def _linear(start: float, end: float, first: float, last: float) -> Callable[[float], float]:
    return lambda value: first + (value - start) / (end - start) * (last - first)


def _scale(low: float, high: float, *, logarithmic: bool) -> Callable[[float], float]:
    """Map values to vertical positions; the drawing's axis points down."""
    if logarithmic:
        decades = _linear(math.log10(low), math.log10(high), HEIGHT - BOTTOM, TOP)
        return lambda value: decades(math.log10(value))
    return _linear(low, high, HEIGHT - BOTTOM, TOP)


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    if logarithmic:
        first, last = round(math.log10(low)), round(math.log10(high))
        decades = max(1, math.ceil((last - first) / TICKS))
        return [DECADE**exponent for exponent in range(first, last + 1, decades)]
    raw = (high - low) / TICKS
    unit = DECADE ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in ROUND_STEPS if unit * factor >= raw)
    return [step * position for position in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axes(
    low: float,
    high: float,
    across: Callable[[float], float],
    up: Callable[[float], float],
    total_samples: int,
    *,
    logarithmic: bool,
) -> str:
    lines = []
    for tick in _ticks(low, high, logarithmic=logarithmic):
        y = up(tick)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        )
    lines.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - BOTTOM + 16}" text-anchor="end">samples</text>')
    for tick in _ticks(0, total_samples, logarithmic=False):
        x, anchor = across(tick), "start" if tick == 0 else "middle"
        if x > WIDTH - RIGHT - ROOM_FOR_UNIT:
            continue
        lines.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{number(tick)}</text>'
        )
    return "".join(lines)


def _curve(series: Series, position: int, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    style = f"series-{position % COLOURS}" + (" dashed" if position >= COLOURS else "")
    parts = []
    if series.band:
        there = [f"{across(x):.1f},{up(top):.1f}" for x, _, top in series.band]
        back = [f"{across(x):.1f},{up(bottom):.1f}" for x, bottom, _ in reversed(series.band)]
        parts.append(f'<polygon class="band {style}" points="{" ".join(there + back)}"/>')
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in series.points)
    parts.append(f'<polyline class="{style}" points="{path}"/>')
    parts += [
        f'<circle class="{style}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="{POINT_RADIUS}">'
        f"<title>{escape(series.name)}: {number(y)} at {number(x)} samples</title></circle>"
        for x, y in series.points
    ]
    return f'<g data-run="{position}">{"".join(parts)}</g>'
