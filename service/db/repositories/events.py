"""Events: append-only, each written once, read in the order of their numbers.

An event gets its number when its transaction commits, under a lock that is held until the commit
is over. A reader that has read up to a number has therefore seen every event below it. Nothing is
locked after that lock, so it cannot be part of a deadlock.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, SessionTransaction

from service.db import locks
from service.db.base import Json
from service.db.isolation import readable_rows
from service.db.repositories.upsert import insert_if_new
from service.db.tables import Event

_PENDING = "events that are written at the commit"


class EventRepository:
    """Appends and reads events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(
        self,
        subject: str,
        type: str,
        key: str,
        data: Json,
        *,
        now: datetime,
        job_id: str | None = None,
        chip_id: str | None = None,
    ) -> None:
        """Add an event. The same subject, type and key a second time change nothing."""
        stored = _finite(data)  # PostgreSQL refuses other numbers, and with them the whole commit
        values = {"subject": subject, "type": type, "key": key, "data": stored, "created_at": now}
        values |= {"job_id": job_id, "chip_id": chip_id}
        _pending(self._session).append(
            _PendingEvent(values, self._session.get_nested_transaction())
        )

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
        write_pending(self._session)
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
        write_pending(self._session)
        return self._session.scalar(select(func.max(Event.seq))) or 0


def write_pending(session: Session) -> None:
    """Write pending events: at the commit, or when the same unit of work reads events."""
    pending = session.info.get(_PENDING, [])
    if not pending or session.in_nested_transaction():
        return
    locks.hold(session, locks.EVENTS)
    for one in pending:
        insert_if_new(session, Event, one.values)
    pending.clear()


class _PendingEvent(NamedTuple):
    values: dict[str, Any]
    savepoint: SessionTransaction | None  # in which it was added


def _pending(session: Session) -> list[_PendingEvent]:
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "before_commit", write_pending)
        event.listen(session, "after_soft_rollback", _forget)
    pending: list[_PendingEvent] = session.info[_PENDING]
    return pending


def _forget(session: Session, undone: SessionTransaction) -> None:
    """Drop the pending events that were added since a savepoint that is rolled back."""
    pending = _pending(session)
    pending[:] = [one for one in pending if not _within(one.savepoint, undone)]


def _finite(value: Any) -> Any:
    """Return the JSON value with null for numbers that JSON does not know: NaN and infinities."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _within(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer
