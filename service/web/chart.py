"""Points to pixels, for the plots that stand in a page as SVG."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Point = tuple[float, float]
Write = Callable[[float], str]
LINE = 16  # px between two labels that must not touch


class Frame(NamedTuple):
    """The drawing area, in pixels, and the ranges it shows."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 400
    height: float = 136
    left: float = 56
    right: float = 88  # room for the label at the end of a curve
    top: float = 8
    bottom: float = 24

    def x(self, value: float) -> float:
        """Where a value stands on the horizontal axis."""
        return round(_scale(value, self.x_range, self.left, self.end), 1)

    def y(self, value: float) -> float:
        """Where a value stands on the vertical axis."""
        return round(_scale(value, self.y_range, self.floor, self.top), 1)

    @property
    def end(self) -> float:
        """The right edge of the drawing area."""
        return self.width - self.right

    @property
    def floor(self) -> float:
        """The lower edge of the drawing area."""
        return self.height - self.bottom


class Label(NamedTuple):
    """A height in the frame and what is written there; `text_y` keeps labels apart."""

    y: float
    text_y: float
    text: str


class Plot(NamedTuple):
    """One curve in its frame, labelled at its end; the points are for the table behind it."""

    title: str
    frame: Frame
    path: str
    last: Point
    end: Label
    ticks: tuple[Label, ...]
    reference: Label | None
    points: tuple[Point, ...]


class Curve(NamedTuple):
    """What is to be drawn."""

    title: str
    points: Sequence[Point]
    write: Write  # a value as a label
    least: float  # the narrowest range of values worth showing
    reference: tuple[float, str] | None = None  # a dashed line, and its name


def draw(curve: Curve, x_range: tuple[float, float]) -> Plot:
    """Lay one curve out. There must be at least one point."""
    values = [y for _, y in curve.points]
    marked = [curve.reference[0]] if curve.reference else []
    frame = Frame(x_range, padded_range([*values, *marked], curve.least))
    x, y = curve.points[-1]
    end = _label(frame, y, curve.write(y))
    return Plot(
        title=curve.title,
        frame=frame,
        path=" ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in curve.points),
        last=(frame.x(x), frame.y(y)),
        end=end,
        ticks=tuple(_label(frame, value, curve.write(value)) for value in _ticks(values)),
        reference=_reference(frame, curve.reference, end),
        points=tuple(curve.points),
    )


def padded_range(values: Sequence[float], least: float) -> tuple[float, float]:
    """A range that holds all values, at least `least` wide, with a little air."""
    low, high = min(values), max(values)
    missing = max(least - (high - low), 0) / 2
    air = 0.1 * max(high - low, least)
    return low - missing - air, high + missing + air


def _ticks(values: Sequence[float]) -> tuple[float, ...]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low,)


def _label(frame: Frame, value: float, text: str) -> Label:
    y = frame.y(value)
    return Label(y, y + 4, text)


def _reference(frame: Frame, wanted: tuple[float, str] | None, end: Label) -> Label | None:
    if wanted is None:
        return None
    y = frame.y(wanted[0])
    shift = LINE - abs(y - end.y) if abs(y - end.y) < LINE else 0
    return Label(y, y + 4 + (shift if y > end.y else -shift), wanted[1])


def _scale(value: float, span: tuple[float, float], low: float, high: float) -> float:
    width = span[1] - span[0]
    part = (value - span[0]) / width if width else 0.5
    return low + part * (high - low)
