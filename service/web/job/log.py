"""The log of a job, and whose fault ended it: names in place of ids, and no more than is read."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.db.tables import Event, Job
from service.formatting import short_id
from service.states import JobStatus

LOG_SHOWN = 200
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_IN_DRIVER = re.compile(
    r"^(?P<error>.*?)\.? Raised in the driver '(?P<driver>[^']*)': (?P<line>.*?)\.?$", re.S
)
_HIDDEN = frozenset({"sha256", "result"})


class LogLine(NamedTuple):
    """A line of the log; that of a traceback has several rows."""

    time: datetime
    text: str


class DriverFailure(NamedTuple):
    """An error that the driver of a chip raised: other people's code."""

    driver: str
    error: str
    line: str  # of the driver, with its file


def read_log(events: Sequence[Event], names: Mapping[str, str]) -> tuple[LogLine, ...]:
    """Return the lines, oldest first; `names` are those of chips and other rows, by id."""
    return tuple(LogLine(event.created_at, plain(_line(event), names)) for event in events)


def plain(text: str, names: Mapping[str, str]) -> str:
    """Return a text with names in place of ids; an id without a name is shortened."""
    return _ID.sub(lambda found: names.get(found[0], short_id(found[0])), text)


def driver_failure(job: Job, names: Mapping[str, str]) -> DriverFailure | None:
    """Return the error of the chip's driver that ended the job; None if none did."""
    if job.status != JobStatus.FAILED or job.reason is None:
        return None
    found = _IN_DRIVER.match(job.reason)
    if found is None:
        return None
    return DriverFailure(found["driver"], plain(found["error"], names), found["line"])


def _line(event: Event) -> str:
    if event.type == "job.log":
        return str(event.data.get("line", ""))
    plain_fields = {
        name: value
        for name, value in event.data.items()
        if isinstance(value, str | int) and name not in _HIDDEN
    }
    words = ", ".join(f"{name} {value}" for name, value in plain_fields.items())
    kind = event.type.replace(".", " ")
    return f"{kind}: {words}" if words else kind
