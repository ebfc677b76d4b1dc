"""Accuracy of a chip before and after a calibration, as a small drawing and as a sentence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.formatting import percent, points

_LEFT, _RIGHT = 8, 192  # of the drawing, px


class Recovery(NamedTuple):
    """Accuracy of a chip before and after its last calibration, and of its golden student."""

    job_id: str
    before: float
    after: float
    golden: float

    @property
    def x_before(self) -> float:
        """Horizontal position of the accuracy before, in pixels."""
        return _pixel(self.before)

    @property
    def x_after(self) -> float:
        """Horizontal position of the accuracy after, in pixels."""
        return _pixel(self.after)

    @property
    def x_golden(self) -> float:
        """Horizontal position of the golden student's accuracy, in pixels."""
        return _pixel(self.golden)

    @property
    def sentence(self) -> str:
        """The figures as a sentence."""
        return (
            f"before {percent(self.before)}, after {percent(self.after)} "
            f"({points(self.after - self.before)}); golden student {percent(self.golden)}"
        )


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


def _pixel(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)
