"""Numbers on the pages carry a unit and sensible digits."""

from datetime import UTC, datetime, timedelta

import pytest

from service.formatting import ago, ahead, amount, large, percent, plural, points, seconds

NOW = datetime(2026, 1, 2, tzinfo=UTC)
THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, f"0.0{THIN}%"), (0.9234, f"92.3{THIN}%"), (1, f"100.0{THIN}%")],
)
def test_shares_are_shown_in_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.3, "0.3 s"),
        (35.4, "35 s"),
        (59.6, "1 min 0 s"),
        (134, "2 min 14 s"),
        (7260, "2 h 1 min"),
        (None, "–"),
    ],
)
def test_durations_are_shown_in_the_unit_that_fits(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (1234567, f"1{THIN}234{THIN}567"), (1.4, "1.40"), (None, "–")]
)
def test_amounts_are_grouped(value: float | None, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-5), "now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(days=9), "9 d ago"),
    ],
)
def test_times_are_shown_relative_to_now(passed: timedelta, text: str) -> None:
    assert ago(NOW - passed, NOW) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(seconds=-5), "now"),
        (timedelta(seconds=59), "within a minute"),
        (timedelta(minutes=3, seconds=59), "in 3 min"),
        (timedelta(hours=5), "in 5 h"),
        (timedelta(days=9), "in 9 d"),
    ],
)
def test_times_to_come_are_shown_as_what_is_left(left: timedelta, text: str) -> None:
    assert ahead(NOW + left, NOW) == text
    assert ahead(None, NOW) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.4, "0"),
        (999, "999"),
        (999.6, f"1.00{THIN}k"),
        (23_149, f"23.1{THIN}k"),
        (1_204_000, f"1.20{THIN}M"),
        (5e12, f"5{THIN}000{THIN}G"),
    ],
)
def test_large_counts_have_three_digits(value: float | None, text: str) -> None:
    assert large(value) == text


def test_differences_carry_their_sign() -> None:
    assert (points(0.262), points(-0.01)) == ("+26.2 pt", "-1.0 pt")


def test_one_chip_is_not_plural() -> None:
    assert (plural(1, "chip"), plural(0, "chip")) == ("1 chip", "0 chips")
