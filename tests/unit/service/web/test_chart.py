"""Plots place their curves and labels by the values."""

import pytest

from service.web.chart import LINE, Curve, PlotArea, draw, padded_range


def curve(*values: float, reference: tuple[float, str] | None = None) -> Curve:
    return Curve("Accuracy", list(enumerate(values)), "{:.2f}".format, 0.02, reference)


def test_the_ends_of_the_range_stand_at_the_edges() -> None:
    area = PlotArea((0, 10), (0, 1))
    assert (area.x(0), area.x(10)) == (area.left, area.end)
    assert (area.y(0), area.y(1)) == (area.floor, area.top)


def test_every_point_lies_inside_the_frame() -> None:
    drawn = draw(curve(0.2, 0.9, 0.5), (0, 2))
    pairs = [tuple(map(float, pair.split(","))) for pair in drawn.path.split()]
    assert all(drawn.area.left <= x <= drawn.area.end for x, _ in pairs)
    assert all(drawn.area.top <= y <= drawn.area.floor for _, y in pairs)


def test_higher_values_stand_higher() -> None:
    drawn = draw(curve(0.2, 0.9), (0, 1))
    low, high = (float(pair.split(",")[1]) for pair in drawn.path.split())
    assert high < low


def test_a_flat_curve_has_a_range_all_the_same() -> None:
    low, high = padded_range([0.5, 0.5], least=0.02)
    assert low < 0.49
    assert high > 0.51


def test_one_point_is_drawn() -> None:
    assert draw(curve(0.5), (0, 0)).end.text == "0.50"


@pytest.mark.parametrize("reference", [0.50, 0.51, 0.49, 0.9])
def test_the_labels_of_curve_and_reference_never_touch(reference: float) -> None:
    drawn = draw(curve(0.1, 0.5, reference=(reference, "golden")), (0, 1))
    assert drawn.reference is not None
    assert abs(drawn.reference.text_y - drawn.end.text_y) >= LINE
