"""Durations that people type, and how they are shown."""

import pytest

from service.web.durations import about, read_duration, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 s", 90), ("30min", 1800), (" 6 h ", 21_600), ("1.5 d", 129_600), ("0 s", 0)],
)
def test_a_number_and_a_unit_are_read(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["6", "h", "-6 h", "6 weeks", "six h", "1e3 s", "6 h 30 min", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number and a unit"):
        read_duration(text)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 61.0, 100.5, 3600.0, 90_000.0, 86_400.0 * 366])
def test_what_is_written_is_read_as_the_same(seconds: float) -> None:
    assert read_duration(write_duration(seconds)) == seconds


def test_the_largest_unit_without_a_fraction_is_used() -> None:
    written = [write_duration(s) for s in (86_400, 90_000, 5400, 61, None)]
    assert written == ["1 d", "25 h", "90 min", "61 s", ""]


def test_long_times_are_shown_with_two_digits_or_so() -> None:
    shown = [about(s) for s in (59.4, 7200, 100_000, 240_000, 9_200_000)]
    assert shown == ["59 s", "2.0 h", "28 h", "2.8 d", "106 d"]
