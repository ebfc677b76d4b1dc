"""Events: append-only, each written once, read in the order of their numbers.

An event gets its number when its transaction commits. A reader that has read up to a number has
therefore seen every event below it.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.at_commit import AtCommit
from service.db.base import Json
from service.db.isolation import readable_rows
from service.db.repositories.upsert import insert_if_new
from service.db.tables import Event


class Subject(NamedTuple):
    """What an event is about: a job, a chip, or a job and the chip that it drives."""

    job_id: str | None = None
    chip_id: str | None = None


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
        """Return events numbered above `seq`, oldest first: of one job, of one chip, or of all."""
        _EVENTS.write(self._session)
        query = select(Event).where(Event.seq > seq)
        if job_id is not None:
            query = query.where(Event.job_id == job_id)
        if chip_id is not None:
            query = query.where(Event.chip_id == chip_id)
        if types is not None:
            query = query.where(Event.type.in_(types))
        return list(self._session.scalars(query.order_by(Event.seq).limit(limit)))

    def jobs_after(self, seq: int, limit: int) -> list[tuple[int, str | None]]:
        """Return number and job of the events above `seq`, of all jobs, oldest first."""
        query = select(Event.seq, Event.job_id).where(Event.seq > seq).order_by(Event.seq)
        return [(row.seq, row.job_id) for row in self._session.execute(query.limit(limit))]

    def numbered(self, seqs: Sequence[int]) -> Sequence[Event]:
        """Return the events of these numbers, oldest first, without those that cannot be read."""
        if not seqs:
            return ()
        query = select(Event).where(Event.seq.in_(seqs)).order_by(Event.seq)
        return [row[0] for row in readable_rows(self._session, query, Event.seq).rows]

    def last(self) -> int:
        """Return the highest number so far, 0 before the first event."""
        _EVENTS.write(self._session)
        return self._session.scalar(select(func.max(Event.seq))) or 0


def _insert(session: Session, pending: Sequence[dict[str, Any]]) -> None:
    for values in pending:
        insert_if_new(session, Event, values)


_EVENTS = AtCommit("events", _insert)


def _finite(value: Any) -> Any:
    """Return the JSON value with null for numbers that JSON does not know: NaN and infinities."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
