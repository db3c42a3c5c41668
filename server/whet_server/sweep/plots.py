"""Plots as values, each with its words, and as SVG that stands inside a page: no script, no reference, colours by CSS
classes (`report_html` has them). Points are thinned to what a picture can show.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from whet_server.values import Value

_WIDTH: Final = 640
_HEIGHT: Final = 280
_LEFT: Final = 70
_RIGHT: Final = 620
_TOP: Final = 16
_BOTTOM: Final = 232
_MARGIN: Final = 10
"""Between the frame and the outermost points."""
_MOST_POINTS: Final = 1500
"""More cannot be told apart, and ten thousand would make a page slow."""
_TICKS: Final = 4
_LABEL: Final = 24
"""Letters of a tick's label."""
_ROW: Final = 26
"""Height of a bar with its gap."""


class Axis(Value):
    """What an axis counts. With `labels`, values are places among them."""

    name: str
    log: bool = False
    labels: tuple[str, ...] = ()


class Point(Value, gc=False):
    """`mark`: a CSS class, `best`, `baseline`, `front` or nothing."""

    x: float
    y: float
    mark: str = ""
    words: str = ""


class Plot(Value):
    """Points, and steps through some of them. `words` say what there is to see."""

    title: str
    words: str
    x: Axis
    y: Axis
    points: tuple[Point, ...] = ()
    steps: tuple[tuple[float, float], ...] = ()


class Bars(Value):
    """Shares, 0 to 1."""

    title: str
    words: str
    bars: tuple[tuple[str, float], ...] = ()


def svg(plot: Plot | Bars, ident: str) -> str:
    """Draw it. `ident` is unlike that of any other picture on the page."""
    height, parts = (_HEIGHT, _plot(plot)) if isinstance(plot, Plot) else (_ROW * len(plot.bars) + 8, _bars(plot))
    names = f"{ident}-title {ident}-words"
    head = f'<svg role="img" aria-labelledby="{names}" viewBox="0 0 {_WIDTH} {height}">'
    told = f'<title id="{ident}-title">{escape(plot.title)}</title><desc id="{ident}-words">{escape(plot.words)}</desc>'
    return "\n".join([head, told, *parts, "</svg>"])


class _Scale:
    """From values of an axis to places on the picture."""

    def __init__(self, axis: Axis, values: Sequence[float], begin: float, end: float) -> None:
        self._axis, self._begin, self._end = axis, begin, end
        placed = [self._on(value) for value in values] or [0.0]
        self._low, self._high = (-0.5, len(axis.labels) - 0.5) if axis.labels else (min(placed), max(placed))
        if self._high <= self._low:  # one value: in the middle
            self._low, self._high = self._low - 0.5, self._low + 0.5

    def place(self, value: float) -> float:
        share = (self._on(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> Iterator[tuple[float, str]]:
        if self._axis.labels:
            every = math.ceil(len(self._axis.labels) / 8)
            yield from ((self.place(n), label) for n, label in enumerate(self._axis.labels) if n % every == 0)
            return
        for n in range(_TICKS + 1):
            share = n / _TICKS
            value = self._low + share * (self._high - self._low)
            at = self._begin + share * (self._end - self._begin)
            yield at, f"{math.exp(value) if self._axis.log else value:.3g}"

    def _on(self, value: float) -> float:
        return math.log(value) if self._axis.log else value


def _plot(plot: Plot) -> Iterator[str]:
    points = thinned(plot.points)
    xs, ys = (
        [*(point.x for point in points), *(x for x, _ in plot.steps)],
        [*(p.y for p in points), *(y for _, y in plot.steps)],
    )
    x = _Scale(plot.x, xs, _LEFT + _MARGIN, _RIGHT - _MARGIN)
    y = _Scale(plot.y, ys, _BOTTOM - _MARGIN, _TOP + _MARGIN)
    for at, label in x.ticks():
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_BOTTOM}"/>'
        yield f'<text x="{at:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{_short(label)}</text>'
    for at, label in y.ticks():
        yield f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(label)}</text>'
    yield f'<text x="{(_LEFT + _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(plot.x.name)}</text>'
    turned = f"translate(14 {(_TOP + _BOTTOM) / 2:.0f}) rotate(-90)"
    yield f'<text transform="{turned}" text-anchor="middle">{escape(plot.y.name)}</text>'
    if plot.steps:
        placed = [(x.place(one), y.place(other)) for one, other in plot.steps]
        yield f'<path class="steps" d="{_path(placed)}"/>'
    for point in points:
        size = 5 if point.mark else 3
        title = f"<title>{escape(point.words)}</title>" if point.words else ""
        place = f'cx="{x.place(point.x):.1f}" cy="{y.place(point.y):.1f}"'
        yield f'<circle class="point {point.mark}" {place} r="{size}">{title}</circle>'


def _path(placed: Sequence[tuple[float, float]]) -> str:
    """Steps: along to the next point, then up or down to it."""
    (first_x, first_y), *others = placed
    return f"M{first_x:.1f} {first_y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)


def _bars(plot: Bars) -> Iterator[str]:
    left, right = 220, _RIGHT - 60
    for row, (label, share) in enumerate(plot.bars):
        top, width = 4 + row * _ROW, max(1.0, share * (right - left))
        yield f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{_short(label, 30)}</text>'
        yield f'<rect class="bar" x="{left}" y="{top}" width="{width:.1f}" height="18"/>'
        yield f'<text x="{left + width + 6:.1f}" y="{top + 14}">{share:.0%}</text>'


def _short(label: str, most: int = _LABEL) -> str:
    return escape(label if len(label) <= most else f"{label[: most - 1]}…")


def thinned(points: Sequence[Point]) -> list[Point]:
    """All marked points, and of the others so many that a picture can show them, evenly."""
    plain = [point for point in points if not point.mark]
    every = max(1, math.ceil(len(plain) / _MOST_POINTS))
    return [*plain[::every], *(point for point in points if point.mark)]
