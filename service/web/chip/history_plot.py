"""Plot of a chip's past: accuracy above, drift score below, one axis of time, versions marked."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from service.formatting import percent
from service.web.chip.history import History, Measurement, Prediction, VersionAt
from service.web.plots.time_axis import Tick, ticks_within, time_ticks

_LEAST_ACCURACY = 0.04  # the narrowest range of accuracies that is shown
_LEAST_SCORE = 0.5  # the lowest top of the axis of scores
_A_LABEL, _A_TIME = 26, 88  # px between the labels of two versions, and of two times
_STEP, _STEPS = timedelta(minutes=1), 100  # least and number of the steps of the present
_LEFT, _RIGHT, _EDGE = 56.0, 16.0, 6.0  # px beside the drawing, and inside it


class Mark(NamedTuple):
    """A point of the plot, in pixels, and its values in words."""

    x: float
    y: float
    said: str


class Band(NamedTuple):
    """A range of predicted accuracies, in pixels."""

    x: float
    top: float
    bottom: float


class VersionMark(NamedTuple):
    """The line of a version; the label is empty where that of its neighbour is too close."""

    x: float
    label: str
    said: str


class Panel(NamedTuple):
    """One of the two plots that share the axis of time."""

    top: float
    floor: float
    low: float
    high: float
    ticks: tuple[Tick, ...]  # in pixels

    def y(self, value: float) -> float:
        """Return the vertical position of a value, in pixels."""
        part = (value - self.low) / (self.high - self.low)
        return round(self.floor - part * (self.floor - self.top), 1)


class HistoryPlot(NamedTuple):
    """The plot at one width, in pixels."""

    width: int
    height: int
    left: float
    right: float  # end of the drawing
    accuracy: Panel
    drift: Panel
    times: tuple[Tick, ...]
    versions: tuple[VersionMark, ...]
    before: tuple[Mark, ...]
    after: tuple[Mark, ...]
    predicted: tuple[str, ...]  # a curve for each version
    predicted_at: tuple[Mark, ...]
    bands: tuple[Band, ...]
    scores: tuple[str, ...]  # a curve for each version
    scores_at: tuple[Mark, ...]
    golden: float | None


def draw_history(history: History, now: datetime, width: int) -> HistoryPlot | None:
    """Lay out the plot at a width in pixels; None where nothing has happened yet."""
    if not history.times:
        return None
    axis = _axis(history, now, width)
    accuracy, drift = _accuracy_panel(history), _drift_panel(history)

    def marks(found: Sequence[Any], y: Callable[[Any], float]) -> tuple[Mark, ...]:
        return tuple(Mark(axis.x(one.at), y(one), one.said) for one in found)

    def level(one: Measurement | Prediction) -> float:
        return accuracy.y(one.accuracy)

    predicted = marks(history.predicted, level)
    scores = marks(history.scores, lambda one: drift.y(one.score))
    return HistoryPlot(
        width=width,
        height=int(drift.floor) + 24,
        left=axis.left,
        right=axis.right,
        accuracy=accuracy,
        drift=drift,
        times=axis.ticks(),
        versions=_version_marks(history.versions, axis),
        before=marks([one for one in history.measured if one.is_before], level),
        after=marks([one for one in history.measured if not one.is_before], level),
        predicted=_curves([one.version for one in history.predicted], predicted),
        predicted_at=predicted,
        bands=tuple(
            Band(axis.x(one.at), accuracy.y(one.high), accuracy.y(one.low))
            for one in history.predicted
            if one.high > one.low
        ),
        scores=_curves([one.version for one in history.scores], scores),
        scores_at=scores,
        golden=None if history.golden is None else accuracy.y(history.golden),
    )


class _TimeAxis(NamedTuple):
    first: datetime
    last: datetime
    left: float
    right: float

    def x(self, at: datetime) -> float:
        """Return the horizontal position of a time, in pixels."""
        return self._place(at.timestamp())

    def ticks(self) -> tuple[Tick, ...]:
        """Return the round times of the axis, in pixels."""
        most = max(2, int((self.right - self.left) / _A_TIME))
        found = time_ticks(self.first, self.last, most)
        return tuple(Tick(self._place(tick.value), tick.text) for tick in found)

    def _place(self, seconds: float) -> float:
        span = self.last.timestamp() - self.first.timestamp()
        part = (seconds - self.first.timestamp()) / span
        return round(self.left + _EDGE + part * (self.right - self.left - 2 * _EDGE), 1)


def _axis(history: History, now: datetime, width: int) -> _TimeAxis:
    first = min(history.times)
    # In steps, so that the plot is sent again only when something moves by some pixels.
    step = max(_STEP, (now - first) / _STEPS)
    passed = step * math.ceil((now - first) / step)
    last = max(first + passed, *history.times, first + timedelta(minutes=2))
    return _TimeAxis(first, last, left=_LEFT, right=width - _RIGHT)


def _accuracy_panel(history: History) -> Panel:
    """Return the plot of accuracies: zoomed to the data, never beyond 0 and 1."""
    shown = [one.accuracy for one in history.measured]
    shown += [figure for one in history.predicted for figure in (one.low, one.high)]
    shown += [] if history.golden is None else [history.golden]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    margin = max(0.08 * (high - low), (_LEAST_ACCURACY - (high - low)) / 2, 0.005)
    low, high = max(low - margin, 0.0), min(high + margin, 1.0)
    panel = Panel(top=44, floor=192, low=low, high=high, ticks=())
    ticks = ticks_within(low, high, 5)
    digits = 0 if len(ticks) < 2 or ticks[1] - ticks[0] >= 0.00999 else 1
    return panel._replace(
        ticks=tuple(Tick(panel.y(value), percent(value, digits)) for value in ticks)
    )


def _drift_panel(history: History) -> Panel:
    top = 1.1 * max([_LEAST_SCORE, *(one.score for one in history.scores)])
    panel = Panel(top=232, floor=296, low=0.0, high=top, ticks=())
    ticks = ticks_within(0.0, top, 3)
    return panel._replace(ticks=tuple(Tick(panel.y(value), f"{value:g}") for value in ticks))


def _version_marks(versions: Sequence[VersionAt], axis: _TimeAxis) -> tuple[VersionMark, ...]:
    """Mark every version; a label is left out where the one before it is too close."""
    marks, labelled = list[VersionMark](), -math.inf
    for one in versions:
        x = axis.x(one.at)
        label = f"v{one.number}" if x - labelled >= _A_LABEL else ""
        labelled = x if label else labelled
        marks.append(VersionMark(x, label, one.said))
    return tuple(marks)


def _curves(versions: Sequence[int | None], marks: Sequence[Mark]) -> tuple[str, ...]:
    """Return a curve for each run of marks of one version: weights that changed are no drift."""
    runs = groupby(zip(versions, marks, strict=True), key=lambda pair: pair[0])
    return tuple(" ".join(f"{mark.x},{mark.y}" for _, mark in run) for _, run in runs)
