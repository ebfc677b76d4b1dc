"""What the benchmark of shelf life makes of its measurements."""

import math

import pytest

from benchmarks.shelf_life import (
    AGES,
    HOLDS_LEAST,
    LAST,
    End,
    Row,
    complaints_about,
    end_of,
    isotonic,
)
from ltl_core.calibration.shelf_life import Validity

HOUR, DAY = 3600.0, 86_400.0
LOGS = [math.log1p(age / 60) for age in (*AGES, LAST)]


def test_a_loss_that_falls_becomes_its_mean_with_the_one_before() -> None:
    assert isotonic([0.0, 2.0, 1.0, 3.0]) == [0.0, 1.5, 1.5, 3.0]
    assert isotonic([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("rate", [0.12, 0.3, 1.0])
def test_the_end_is_found_between_the_ages(rate: float) -> None:
    """With the logarithm of the age the loss grows as `rate` points."""
    found = end_of([(rate * log, 0.1) for log in LOGS])
    expected = [60 * math.expm1(points / rate) for points in (1.0, 0.9, 1.1)]
    assert found == pytest.approx(expected, rel=1e-6)
    assert found.age_s != pytest.approx(60 * math.expm1(1.05 / rate), rel=0.01)


def test_a_chip_that_loses_less_has_no_end() -> None:
    assert end_of([(0.5, 0.1)] * len(LOGS)) == End(math.inf, math.inf, math.inf)


def row(low_s: float, high_s: float, known: str = "1 day") -> Row:
    predicted = Validity(math.sqrt(low_s * high_s), low_s, high_s)
    return Row("pcm", 1, 1, known, predicted, End(DAY, 0.5 * DAY, 2 * DAY), ())


def test_intervals_that_miss_the_end_are_complained_about() -> None:
    sound, late = row(HOUR, 3 * DAY), row(3 * DAY, 9 * DAY)
    early, unprobed = row(60.0, HOUR), row(3 * DAY, 9 * DAY, known="publication")
    assert list(complaints_about([sound, unprobed])) == []
    assert late.is_early
    assert not late.holds
    assert not early.is_early
    assert len(list(complaints_about([sound, late]))) == 2
    assert len(list(complaints_about([sound, early]))) == 1
    assert list(complaints_about([sound] * 9 + [early])) == []
    assert HOLDS_LEAST > 0.5
