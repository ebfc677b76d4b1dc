"""What each stage of a calibration brought and cost, as rows of the job page."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.formatting import DASH, amount, seconds


class StageRow(NamedTuple):
    """One stage, as text. The loss is behind the golden student, predicted without labels."""

    name: str
    before: str  # points
    after: str  # points
    samples: str
    samples_measured: str
    cells: str
    pulses: str
    seconds: str


def stage_rows(result: Mapping[str, Any]) -> tuple[StageRow, ...]:
    """Return the stages of a result; earlier results say neither the loss after nor the cost."""
    return tuple(map(_row, result.get("stages") or ()))


def _row(stage: Mapping[str, Any]) -> StageRow:
    cost: Mapping[str, Any] = stage.get("cost") or {}
    return StageRow(
        name=str(stage["stage"]),
        before=_points(stage.get("points_before")),
        after=_points(stage.get("points_after")),
        samples=amount(cost.get("samples")),
        samples_measured=amount(cost.get("samples_measured")),
        cells=amount(cost.get("cells")),
        pulses=amount(cost.get("pulses")),
        seconds=seconds(cost.get("seconds")),
    )


def _points(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
