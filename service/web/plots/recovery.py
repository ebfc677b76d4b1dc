"""Accuracy of a chip before and after a calibration, as a small drawing and as a sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from service.formatting import percent, points

_LEFT, _RIGHT = 8, 192  # of the drawing, px
_ROUND = 0.05  # the ends of an axis are multiples of it


class Axis(NamedTuple):
    """The range of accuracies that a drawing shows."""

    low: float = 0.0
    high: float = 1.0

    def pixel(self, share: float) -> float:
        """Return the horizontal position of an accuracy, in pixels."""
        place = (share - self.low) / (self.high - self.low)
        return round(_LEFT + place * (_RIGHT - _LEFT), 1)


class Recovery(NamedTuple):
    """Accuracy of a chip before and after its last calibration, and of its golden student."""

    job_id: str
    before: float
    after: float
    golden: float
    axis: Axis = Axis()

    @property
    def x_before(self) -> float:
        """Horizontal position of the accuracy before, in pixels."""
        return self.axis.pixel(self.before)

    @property
    def x_after(self) -> float:
        """Horizontal position of the accuracy after, in pixels."""
        return self.axis.pixel(self.after)

    @property
    def x_golden(self) -> float:
        """Horizontal position of the golden student's accuracy, in pixels."""
        return self.axis.pixel(self.golden)

    @property
    def sentence(self) -> str:
        """The figures as a sentence."""
        return (
            f"before {percent(self.before)}, after {percent(self.after)} "
            f"({points(self.after - self.before)}); golden student {percent(self.golden)}"
        )


def axis_of(shown: Sequence[Recovery]) -> Axis:
    """Return one axis for these drawings: their range, rounded outward to 5 points, up to 100 %."""
    figures = [figure for one in shown for figure in (one.before, one.after, one.golden)]
    if not figures:
        return Axis()
    low = min(_ROUND * math.floor(min(figures) / _ROUND), 1 - _ROUND)
    return Axis(low, max(low + _ROUND, _ROUND * math.ceil(max(figures) / _ROUND)))


def recovery_of(job_id: str, result: Mapping[str, Any] | None) -> Recovery | None:
    """Read accuracy before and after from the result of a calibration; None for other results."""
    accuracy = (result or {}).get("accuracy")
    if not isinstance(accuracy, Mapping):
        return None
    figures = [accuracy.get(name) for name in ("before", "after", "golden")]
    if not all(isinstance(figure, int | float) for figure in figures):
        return None
    before, after, golden = (float(figure) for figure in figures if figure is not None)
    return Recovery(job_id, before, after, golden)
