"""Events: append-only, each written once, read in the order of their numbers.

An event gets its number when its transaction commits. A reader that has read up to a number has
therefore seen every event below it.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from service.db.at_commit import AtCommit
from service.db.base import Json
from service.db.isolation import ReadableRows, readable_rows
from service.db.repositories.upsert import insert_all_if_new
from service.db.tables import Event


class Subject(NamedTuple):
    """What an event is about: a job, a chip, or a job and the chip that it drives."""

    job_id: str | None = None
    chip_id: str | None = None


class EventBatch(NamedTuple):
    """Some events in order, and how far they reach."""

    rows: list[Event]  # without those that cannot be read
    last: int  # number of the last event, also of one that cannot be read
    is_full: bool  # whether there may be more


class EventRepository:
    """Appends and reads events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, about: Subject, type: str, key: str, data: Json, now: datetime) -> None:
        """Add an event. The same job, or else chip, type and key a second time change nothing."""
        stored = _finite(data)  # PostgreSQL refuses other numbers, and with them the whole commit
        values = {"type": type, "key": key, "data": stored, "created_at": now}
        values |= {"subject": about.job_id or about.chip_id} | about._asdict()
        _EVENTS.add(self._session, values)

    def after(
        self,
        seq: int,
        *,
        job_id: str | None = None,
        chip_id: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 200,
    ) -> list[Event]:
        """Return events numbered above `seq`, oldest first: of one job, of one chip, or of all.

        Events that cannot be read are left out.
        """
        return self.batch_after(seq, job_id=job_id, chip_id=chip_id, types=types, limit=limit).rows

    def without(self, types: Sequence[str], seq: int, limit: int) -> list[Event]:
        """Return events of all other types numbered above `seq`, oldest first."""
        _EVENTS.write(self._session)
        query = select(Event).where(Event.seq > seq, Event.type.not_in(types))
        return self._readable(query.order_by(Event.seq).limit(limit)).rows

    def batch_after(
        self,
        seq: int,
        *,
        job_id: str | None = None,
        chip_id: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 200,
    ) -> EventBatch:
        """Return the events that `after` returns, and how far they reach."""
        _EVENTS.write(self._session)
        query = select(Event).where(Event.seq > seq)
        if job_id is not None:
            query = query.where(Event.job_id == job_id)
        if chip_id is not None:
            query = query.where(Event.chip_id == chip_id)
        if types is not None:
            query = query.where(Event.type.in_(types))
        found = self._readable(query.order_by(Event.seq).limit(limit))
        seqs: list[int] = [*(row.seq for row in found.rows), *map(int, found.unreadable)]
        return EventBatch(found.rows, max(seqs, default=seq), is_full=len(seqs) == limit)

    def jobs_after(self, seq: int, limit: int) -> list[tuple[int, str | None]]:
        """Return number and job of the events above `seq`, of all jobs, oldest first."""
        query = select(Event.seq, Event.job_id).where(Event.seq > seq).order_by(Event.seq)
        return [(row.seq, row.job_id) for row in self._session.execute(query.limit(limit))]

    def numbered(self, seqs: Sequence[int]) -> ReadableRows[Event]:
        """Return the events of these numbers, oldest first, and which of them cannot be read."""
        if not seqs:
            return ReadableRows([], [])
        return self._readable(select(Event).where(Event.seq.in_(seqs)).order_by(Event.seq))

    def _readable(self, query: Select[Event]) -> ReadableRows[Event]:
        """Read events; one whose data are no object, as every event has them, cannot be read."""
        found: ReadableRows[Any] = readable_rows(self._session, query, Event.seq)
        rows = [row[0] for row in found.rows]
        sound = [row for row in rows if isinstance(row.data, dict)]
        bad = [str(row.seq) for row in rows if not isinstance(row.data, dict)]
        return ReadableRows(sound, [*found.unreadable, *bad])

    def last(self) -> int:
        """Return the highest number so far, 0 before the first event."""
        _EVENTS.write(self._session)
        return self._session.scalar(select(func.max(Event.seq))) or 0


def _insert(session: Session, pending: Sequence[dict[str, Any]]) -> None:
    insert_all_if_new(session, Event, pending)


_EVENTS = AtCommit("events", _insert)


def _finite(value: Any) -> Any:
    """Return the JSON value with null for numbers that JSON does not know: NaN and infinities."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
