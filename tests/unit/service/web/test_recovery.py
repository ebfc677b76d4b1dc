"""The axis of accuracies before and after calibrations."""

import pytest

from service.web.plots.recovery import Recovery, axis_of


def test_an_axis_holds_all_figures_and_is_rounded_to_5_points() -> None:
    axis = axis_of([Recovery("one", before=0.62, after=0.88, golden=0.91)])
    assert tuple(axis) == pytest.approx((0.60, 0.95))


@pytest.mark.parametrize("right", [1.0, 0.97])
def test_an_axis_ends_at_100_percent(right: float) -> None:
    axis = axis_of([Recovery("one", right, right, right)])
    assert tuple(axis) == pytest.approx((0.95, 1.0))
    assert axis.low < right <= axis.high
