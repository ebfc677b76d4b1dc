"""Plots place their curves and labels by the values."""

import pytest

from service.web.plots.chart import (
    LINE,
    Curve,
    Mark,
    Plot,
    PlotArea,
    Reference,
    Series,
    common_ticks,
    draw,
    thin,
)


def curve(*values: float, reference: float | None = None) -> Curve:
    series = (Series("student", "student", list(enumerate(values))),)
    golden = () if reference is None else (Reference(reference, "golden", "teacher"),)
    return Curve("Accuracy", series, "{:.2f}".format, golden)


def drawn(shown: Curve, x_range: tuple[float, float]) -> Plot:
    return draw(shown, x_range, common_ticks([shown], 0.02))


def pixels(plot: Plot) -> list[tuple[float, float]]:
    pairs = " ".join(plot.series[0].path).split()
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]


def test_the_ends_of_the_range_stand_at_the_edges() -> None:
    area = PlotArea((0, 10), (0, 1))
    assert (area.x(0), area.x(10)) == (area.left, area.end)
    assert (area.y(0), area.y(1)) == (area.floor, area.top)


def test_every_point_lies_inside_the_frame() -> None:
    plot = drawn(curve(0.2, 0.9, 0.5), (0, 2))
    assert all(plot.area.left <= x <= plot.area.end for x, _ in pixels(plot))
    assert all(plot.area.top <= y <= plot.area.floor for _, y in pixels(plot))


def test_higher_values_stand_higher() -> None:
    (_, low), (_, high) = pixels(drawn(curve(0.2, 0.9), (0, 1)))
    assert high < low


def test_one_point_is_drawn() -> None:
    assert drawn(curve(0.5), (0, 0)).series[0].end.text == "0.50"


def test_a_plot_without_a_point_shows_its_reference_all_the_same() -> None:
    plot = drawn(curve(reference=0.9), (0, 1))
    assert plot.series == ()
    assert plot.references[0].label.text == "golden"


@pytest.mark.parametrize("reference", [0.50, 0.51, 0.49, 0.9])
def test_the_labels_of_curve_and_reference_never_touch(reference: float) -> None:
    plot = drawn(curve(0.1, 0.5, reference=reference), (0, 1))
    apart = plot.references[0].label.text_y - plot.series[0].end.text_y
    assert abs(apart) >= LINE


def test_all_plots_of_a_group_have_the_range_of_all_their_values() -> None:
    small, large = curve(0.01, 0.02), curve(0.3, 0.8)
    ticks = common_ticks([small, large], 0.01)
    assert ticks[0] <= 0.01
    assert ticks[-1] >= 0.8
    assert draw(small, (0, 1), ticks).ticks == draw(large, (0, 1), ticks).ticks


def test_the_points_of_a_growing_curve_stay_where_they_are() -> None:
    points = [(float(x), x / 1000) for x in range(1000)]
    half, whole = thin(points[:500], (0, 1000)), thin(points, (0, 1000))
    assert whole[: len(half) - 1] == half[:-1]
    assert (half[-1], whole[-1]) == (points[499], points[999])
    assert len(whole) <= 81


def test_the_table_behind_a_plot_has_every_value_of_every_line() -> None:
    lines = (Series("measured", "student", [(0, 0.1), (1, 0.2)]), Series("target", "t", [(1, 0.3)]))
    rows = drawn(Curve("Rates", lines, "{:.1f}".format), (0, 1)).rows
    assert [row.values for row in rows] == [("0.1", "–"), ("0.2", "0.3")]


def test_names_of_marks_stay_in_the_picture_and_apart() -> None:
    marks = tuple(Mark(x, "last trims, settled 1 min 0 s") for x in (0.0, 0.1, 1.0))
    first, second, third = drawn(curve(0.1)._replace(marks=marks), (0, 1)).marks
    assert (first.anchor, third.anchor) == ("start", "end")
    assert first.text_y != second.text_y
