"""Times of day at which planned jobs may begin."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.daily_times import DailyTimes, daily_times

DAYTIME = [{"begin": "08:00", "end": "18:00"}]
NIGHT = [{"begin": "22:00", "end": "06:00"}]


def at(clock: str, day: int = 10) -> datetime:
    hours, minutes = clock.split(":")
    return datetime(2026, 3, day, int(hours), int(minutes), tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "by_day", "by_night"),
    [("07:59", True, True), ("08:00", False, True), ("18:00", True, True), ("23:00", True, False)],
)
def test_quiet_hours_close_from_their_begin_to_their_end(
    clock: str, by_day: bool, by_night: bool
) -> None:
    assert daily_times(DAYTIME, None).allows(at(clock)) == by_day
    assert daily_times(NIGHT, []).allows(at(clock)) == by_night


def test_a_job_that_may_wait_begins_after_the_quiet_hours() -> None:
    assert daily_times(DAYTIME, None).first_from(at("12:30")) == at("18:00")
    assert daily_times(NIGHT, None).first_from(at("23:00")) == at("06:00", 11)
    assert daily_times(NIGHT, None).first_from(at("12:34")) == at("12:34")


def test_a_job_with_a_deadline_begins_before_the_quiet_hours() -> None:
    assert daily_times(DAYTIME, None).last_until(at("12:30")) == at("07:45")
    assert daily_times(NIGHT, None).last_until(at("03:00", 11)) == at("21:45")
    assert daily_times(NIGHT, None).last_until(at("12:30")) == at("12:16")


def test_fixed_times_are_the_only_ones() -> None:
    times = daily_times(None, ["03:00", "15:00"])
    assert times.first_from(at("04:00")) == at("15:00")
    assert times.last_until(at("14:59")) == at("03:00")
    assert times.last_until(at("02:00")) == at("15:00", 9)
    assert times.allows(at("15:14"))
    assert not times.allows(at("15:15"))


def test_quiet_hours_close_fixed_times_too() -> None:
    assert daily_times(DAYTIME, ["12:00"]).never
    assert daily_times([{"begin": "00:00", "end": "00:00"}], None).never
    assert not daily_times(DAYTIME, ["12:00", "20:00"]).never


CLOCKS = st.builds(lambda minute: f"{minute // 60:02}:{minute % 60:02}", st.integers(0, 1439))
HOURS = st.lists(st.fixed_dictionaries({"begin": CLOCKS, "end": CLOCKS}), max_size=3)
INSTANTS = st.datetimes(
    min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC)
)


@given(HOURS, st.lists(CLOCKS, max_size=3), INSTANTS)
@settings(deadline=None, max_examples=50)
def test_early_jobs_are_never_late_and_late_ones_never_early(
    quiet: list[dict[str, str]], fixed: list[str], instant: datetime
) -> None:
    times: DailyTimes = daily_times(quiet, fixed)
    early, late = times.last_until(instant), times.first_from(instant)
    assert early <= instant <= late
    assert late - early <= timedelta(days=2)
    assert times.never or (times.allows(early) and times.allows(late))
