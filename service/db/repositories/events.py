"""Events: append-only, told once, read in the order of their numbers."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.repositories.paging import insert_if_new
from service.db.tables import Event, Json


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
    ) -> bool:
        """Tell it once: the same subject, type and key a second time changes nothing."""
        values = {"subject": subject, "type": type, "key": key, "data": data, "created_at": now}
        return insert_if_new(self._session, Event, values | {"job_id": job_id, "chip_id": chip_id})

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
        return self._session.scalar(select(func.max(Event.seq))) or 0
