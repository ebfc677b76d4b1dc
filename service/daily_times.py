"""Times of day at which planned jobs may begin: not in quiet hours, or at fixed times alone. UTC.

A job that has to be early begins at the last such time before its deadline, with a quarter of an
hour to spare; any other one begins at the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

_DAY = 24 * 60  # minutes
_SPARE = 15  # minutes: how long a fixed time lasts, and how much earlier than a deadline to begin


class DailyTimes(NamedTuple):
    """Minutes of the day in which a planned job may begin."""

    is_open: tuple[bool, ...]  # minute by minute, from midnight on

    @property
    def never(self) -> bool:
        """Whether no job may ever begin."""
        return not any(self.is_open)

    def allows(self, at: datetime) -> bool:
        """Tell whether a job may begin at this time."""
        return self.is_open[_minute(at)]

    def first_from(self, at: datetime) -> datetime:
        """Return the first time from `at` on at which a job may begin; `at` if there is none."""
        return next((time for time in _minutes(at, 1) if self.allows(time)), at)

    def last_until(self, deadline: datetime) -> datetime:
        """Return when to begin at the latest, so that the job begins before the deadline.

        It is up to 15 minutes before the last minute that is open; the deadline if there is none.
        """
        last = next((time for time in _minutes(deadline, -1) if self.allows(time)), None)
        if last is None:
            return deadline
        for time in _minutes(last, -1, _SPARE - 1):
            if not self.allows(time):
                break
            last = time
        return last


def daily_times(
    quiet_hours: Sequence[Mapping[str, Any]] | None, fixed_times: Sequence[str] | None
) -> DailyTimes:
    """Return the times that a policy leaves open.

    `quiet_hours` have a `begin` and an `end`, which may be on the next day; times are `HH:MM`.
    """
    is_open = [not fixed_times] * _DAY
    for time in fixed_times or ():
        first = minute_of(time)
        for minute in range(first, first + _SPARE):
            is_open[minute % _DAY] = True
    for hours in quiet_hours or ():
        begin, end = minute_of(hours["begin"]), minute_of(hours["end"])
        for minute in range(begin, end if end > begin else end + _DAY):
            is_open[minute % _DAY] = False
    return DailyTimes(tuple(is_open))


def minute_of(time: str) -> int:
    """Return the minute of the day of a time `HH:MM`. Raises ValueError."""
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _minute(at: datetime) -> int:
    return at.hour * 60 + at.minute


def _minutes(at: datetime, step: int, count: int = _DAY) -> Iterator[datetime]:
    """Yield this time, and then the minutes after it (or before it), from their first second on."""
    yield at
    whole = at.replace(second=0, microsecond=0)
    for minute in range(1, count + 1):
        yield whole + step * timedelta(minutes=minute)
