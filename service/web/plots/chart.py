"""Layout of plots: from data points to the pixels of an SVG, and the table behind it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.web.plots.ticks import round_ticks

Point = tuple[float, float]
Write = Callable[[float], str]
_NAMES = 36  # px above a plot, for the names of its marks
LINE = 16  # px between two labels, so that they do not overlap
_POINTS = 80  # of a curve: more than a reader tells apart
_LABEL = 6.6  # px of a letter, on average


class PlotArea(NamedTuple):
    """The size of a plot in pixels, and the ranges of values that it shows."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 400
    height: float = 144
    left: float = 56
    right: float = 96  # room for the label at the end of a curve
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


class Series(NamedTuple):
    """The data of one line. `style` is a class of the stylesheet: whose values they are."""

    name: str
    style: str
    points: Sequence[Point]
    short: str = ""  # a name that stands before the last value


class Reference(NamedTuple):
    """A figure that a plot is compared with: a dashed line over its whole width."""

    value: float
    text: str
    style: str


class Mark(NamedTuple):
    """A place on the horizontal axis where something begins."""

    x: float
    text: str


class Curve(NamedTuple):
    """What a plot shows. `write` formats a value as a label."""

    title: str
    series: Sequence[Series]
    write: Write
    references: Sequence[Reference] = ()
    marks: Sequence[Mark] = ()
    names_marks: bool = False  # whether the marks are named in this plot
    note: str = ""  # of what and of when the values are


class DrawnSeries(NamedTuple):
    """A line as it is drawn, with the label at its end."""

    name: str
    style: str
    path: tuple[str, ...]  # pieces of the path; those of earlier points stay as they are
    last: Point
    end: Label


class DrawnReference(NamedTuple):
    """A dashed line with its label."""

    style: str
    label: Label


class DrawnMark(NamedTuple):
    """A vertical line, and where its name begins or ends."""

    x: float
    text: str
    anchor: str  # of the text, as SVG names it
    text_y: float


class TableRow(NamedTuple):
    """One line of the table behind a plot: the place on the axis, and the value of each line."""

    pixel: float
    x: float
    values: tuple[str, ...]


class Plot(NamedTuple):
    """One plot as it is drawn; `rows` are the table behind it."""

    title: str
    note: str
    area: PlotArea
    series: tuple[DrawnSeries, ...]
    references: tuple[DrawnReference, ...]
    marks: tuple[DrawnMark, ...]
    names_marks: bool
    ticks: tuple[Label, ...]
    rows: tuple[TableRow, ...]
    sentence: str


def draw(curve: Curve, x_range: tuple[float, float], ticks: Sequence[float]) -> Plot:
    """Lay out one plot between the first and the last of the ticks of its vertical axis."""
    area = PlotArea(x_range, (ticks[0], ticks[-1]))
    if curve.names_marks:
        area = area._replace(top=_NAMES, height=area.height + _NAMES)
    thinned = [one._replace(points=thin(one.points, x_range)) for one in curve.series]
    taken: list[float] = []
    drawn = tuple(_line(area, one, curve.write, taken) for one in thinned if one.points)
    references = tuple(_reference(area, one, taken) for one in curve.references)
    said = [f"{one.name} {one.end.text}" for one in drawn]
    said += [one.label.text for one in references]
    return Plot(
        title=curve.title,
        note=curve.note,
        area=area,
        series=drawn,
        references=references,
        marks=_marks(area, curve.marks),
        names_marks=curve.names_marks,
        ticks=tuple(Label(area.y(t), area.y(t) + 4, curve.write(t)) for t in ticks),
        rows=_rows(area, thinned, curve.write),
        sentence=f"{curve.title}: {', '.join(said) if said else 'no value yet'}",
    )


def common_ticks(curves: Sequence[Curve], least: float, top: float = math.inf) -> tuple[float, ...]:
    """Return the ticks of one vertical axis for these plots, at most `top`.

    At least the range `least` is shown.
    """
    values = [y for curve in curves for one in curve.series for _, y in one.points]
    values += [reference.value for curve in curves for reference in curve.references]
    return round_ticks(values or [0.0], least, top=top)


def thin(points: Sequence[Point], x_range: tuple[float, float]) -> list[Point]:
    """Return the last point of each of `_POINTS` parts of the axis.

    The parts do not depend on how many points there are, so that the first points of a growing
    curve stay the same. The last point is always there.
    """
    width = (x_range[1] - x_range[0]) / _POINTS or 1.0
    parts = {int((x - x_range[0]) / width + 1e-9): (x, y) for x, y in points}
    return list(parts.values())


def _line(area: PlotArea, series: Series, write: Write, taken: list[float]) -> DrawnSeries:
    pixels = [f"{area.x(x)},{area.y(y)}" for x, y in series.points]
    x, y = series.points[-1]
    end = _free_label(area.y(y), f"{series.short} {write(y)}".strip(), taken)
    pieces = tuple(" ".join(pixels[i : i + 10]) for i in range(0, len(pixels), 10))
    return DrawnSeries(series.name, series.style, pieces, (area.x(x), area.y(y)), end)


def _reference(area: PlotArea, wanted: Reference, taken: list[float]) -> DrawnReference:
    return DrawnReference(wanted.style, _free_label(area.y(wanted.value), wanted.text, taken))


def _free_label(y: float, text: str, taken: list[float]) -> Label:
    """Place a label beside its height, or at the nearest place where it touches no other."""
    places = sorted((y + 4 + step for step in range(-96, 97, 4)), key=lambda at: abs(at - y - 4))
    free = (at for at in places if all(abs(at - other) >= LINE for other in taken))
    text_y = next(free, y + 4)
    taken.append(text_y)
    return Label(y, text_y, text)


def _marks(area: PlotArea, marks: Sequence[Mark]) -> tuple[DrawnMark, ...]:
    """Name each mark to its right, or to its left where there is more room."""
    drawn: list[DrawnMark] = []
    taken = [0.0, 0.0]  # how far each of two lines is filled, px
    for mark in marks:
        x = area.x(mark.x)
        width = _LABEL * len(mark.text)
        fits = x + width <= area.width
        start = x if fits else x - width
        line = 0 if taken[0] <= start else 1
        taken[line] = start + width + 4
        drawn.append(DrawnMark(x, mark.text, "start" if fits else "end", 10 + 14 * line))
    return tuple(drawn)


def _rows(area: PlotArea, series: Sequence[Series], write: Write) -> tuple[TableRow, ...]:
    found = [dict(one.points) for one in series]
    places = sorted(set().union(*found)) if found else []
    return tuple(
        TableRow(area.x(x), x, tuple(write(one[x]) if x in one else "–" for one in found))
        for x in places
    )


def _scale(value: float, span: tuple[float, float], low: float, high: float) -> float:
    width = span[1] - span[0]
    part = (value - span[0]) / width if width else 0.5
    return low + part * (high - low)
