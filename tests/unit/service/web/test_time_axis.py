"""Round ticks: times in UTC, and figures within a range."""

from datetime import UTC, datetime, timedelta

import pytest

from service.web.plots.time_axis import ticks_within, time_ticks

BEGIN = datetime(2026, 3, 30, 21, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        (timedelta(minutes=20), ["21:50", "21:55", "22:00", "22:05", "22:10"]),
        (timedelta(hours=5), ["22:00", "31 Mar", "02:00"]),
        (timedelta(days=3), ["31 Mar", "1 Apr", "2 Apr"]),
        (timedelta(days=1400), ["Dec 2026", "Dec 2027", "Dec 2028", "Dec 2029"]),
    ],
)
def test_times_are_round_and_written_in_utc(span: timedelta, texts: list[str]) -> None:
    assert [tick.text for tick in time_ticks(BEGIN, BEGIN + span, 5)] == texts


@pytest.mark.parametrize("days", [0.01, 1, 7, 40, 400, 4000, 40_000])
@pytest.mark.parametrize("most", [2, 5, 9])
def test_there_are_never_more_times_than_asked_for_and_all_are_inside(
    days: float, most: int
) -> None:
    end = BEGIN + timedelta(days=days)
    found = [tick.value for tick in time_ticks(BEGIN, end, most)]
    assert len(found) <= most
    assert all(BEGIN.timestamp() <= value <= end.timestamp() for value in found)


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.0, 0.29, 4, (0.0, 0.1, 0.2)),
        (0.484, 1.0, 5, (0.6, 0.8, 1.0)),
        (0.0, 1.1, 3, (0.0, 1.0)),
        (-3.0, 7.0, 6, (-2.0, 0.0, 2.0, 4.0, 6.0)),
    ],
)
def test_figures_are_round_and_within_the_range(
    low: float, high: float, most: int, ticks: tuple[float, ...]
) -> None:
    assert ticks_within(low, high, most) == ticks
