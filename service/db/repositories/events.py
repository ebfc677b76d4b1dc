"""Events: append-only, told once, read in the order of their numbers.

An event's number is drawn when its transaction commits, under a lock that is held until the commit
is over. Whoever has read up to a number has therefore seen every event below it. Nothing is locked
after that lock, so it takes part in no deadlock.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, SessionTransaction

from service.db import locks
from service.db.base import Json
from service.db.repositories.upsert import insert_if_new
from service.db.tables import Event

_TOLD = "events that are written at the commit"


class EventRepository:
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
        """Tell it once: the same subject, type and key a second time changes nothing."""
        values = {"subject": subject, "type": type, "key": key, "data": data, "created_at": now}
        values |= {"job_id": job_id, "chip_id": chip_id}
        _told(self._session).append(_Told(values, self._session.get_nested_transaction()))

    def after(
        self,
        seq: int,
        *,
        job_id: str | None = None,
        chip_id: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 200,
    ) -> list[Event]:
        """The events numbered above `seq`, of one job, of one chip, or of everything."""
        write_told(self._session)
        query = select(Event).where(Event.seq > seq)
        if job_id is not None:
            query = query.where(Event.job_id == job_id)
        if chip_id is not None:
            query = query.where(Event.chip_id == chip_id)
        if types is not None:
            query = query.where(Event.type.in_(types))
        return list(self._session.scalars(query.order_by(Event.seq).limit(limit)))

    def last(self) -> int:
        """The highest number so far, 0 before the first event."""
        write_told(self._session)
        return self._session.scalar(select(func.max(Event.seq))) or 0


def write_told(session: Session) -> None:
    """Give what was told its numbers. Done at the commit, or when the same unit asks for events."""
    told = session.info.get(_TOLD, [])
    if not told or session.in_nested_transaction():
        return
    locks.hold(session, locks.EVENTS)
    for one in told:
        insert_if_new(session, Event, one.values)
    told.clear()


class _Told(NamedTuple):
    values: dict[str, Any]
    savepoint: SessionTransaction | None  # in which it was told


def _told(session: Session) -> list[_Told]:
    if _TOLD not in session.info:
        session.info[_TOLD] = []
        event.listen(session, "before_commit", write_told)
        event.listen(session, "after_soft_rollback", _forget)
    told: list[_Told] = session.info[_TOLD]
    return told


def _forget(session: Session, undone: SessionTransaction) -> None:
    """What was told since a savepoint that was rolled back has not happened."""
    told = _told(session)
    told[:] = [one for one in told if not _within(one.savepoint, undone)]


def _within(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer
