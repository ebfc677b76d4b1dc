"""Layout of plots: from data points to the pixels of an SVG."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Point = tuple[float, float]
Write = Callable[[float], str]
LINE = 16  # px between two labels, so that they do not overlap


class PlotArea(NamedTuple):
    """The size of a plot in pixels, and the ranges of values that it shows."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 400
    height: float = 136
    left: float = 56
    right: float = 88  # room for the label at the end of a curve
    top: float = 8
    bottom: float = 24

    def x(self, value: float) -> float:
        """Return the horizontal position of a value, in pixels."""
        return round(_scale(value, self.x_range, self.left, self.end), 1)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, in pixels."""
        return round(_scale(value, self.y_range, self.floor, self.top), 1)

    @property
    def end(self) -> float:
        """Right edge of the drawing area, in pixels."""
        return self.width - self.right

    @property
    def floor(self) -> float:
        """Lower edge of the drawing area, in pixels."""
        return self.height - self.bottom


class Label(NamedTuple):
    """A text beside the plot: `y` is the height it marks, `text_y` where it is written."""

    y: float
    text_y: float
    text: str


class Plot(NamedTuple):
    """One curve with its area and labels; `points` are for the table behind the plot."""

    title: str
    area: PlotArea
    path: str
    last: Point
    end: Label
    ticks: tuple[Label, ...]
    reference: Label | None
    points: tuple[Point, ...]


class Curve(NamedTuple):
    """The data of one curve, and how to draw it."""

    title: str
    points: Sequence[Point]
    write: Write  # formats a value as a label
    least: float  # the narrowest range of values worth showing
    reference: tuple[float, str] | None = None  # a dashed line, and its name


def draw(curve: Curve, x_range: tuple[float, float]) -> Plot:
    """Lay out one curve. It must have at least one point."""
    values = [y for _, y in curve.points]
    marked = [curve.reference[0]] if curve.reference else []
    area = PlotArea(x_range, padded_range([*values, *marked], curve.least))
    x, y = curve.points[-1]
    end = _label(area, y, curve.write(y))
    return Plot(
        title=curve.title,
        area=area,
        path=" ".join(f"{area.x(x)},{area.y(y)}" for x, y in curve.points),
        last=(area.x(x), area.y(y)),
        end=end,
        ticks=tuple(_label(area, value, curve.write(value)) for value in _ticks(values)),
        reference=_reference(area, curve.reference, end),
        points=tuple(curve.points),
    )


def padded_range(values: Sequence[float], least: float) -> tuple[float, float]:
    """Return a range that holds all values, at least `least` wide, with a margin on both sides."""
    low, high = min(values), max(values)
    missing = max(least - (high - low), 0) / 2
    margin = 0.1 * max(high - low, least)
    return low - missing - margin, high + missing + margin


def _ticks(values: Sequence[float]) -> tuple[float, ...]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low,)


def _label(area: PlotArea, value: float, text: str) -> Label:
    y = area.y(value)
    return Label(y, y + 4, text)


def _reference(area: PlotArea, wanted: tuple[float, str] | None, end: Label) -> Label | None:
    if wanted is None:
        return None
    y = area.y(wanted[0])
    shift = LINE - abs(y - end.y) if abs(y - end.y) < LINE else 0
    return Label(y, y + 4 + (shift if y > end.y else -shift), wanted[1])


def _scale(value: float, span: tuple[float, float], low: float, high: float) -> float:
    width = span[1] - span[0]
    part = (value - span[0]) / width if width else 0.5
    return low + part * (high - low)
