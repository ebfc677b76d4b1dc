"""Executors: the processes that run jobs, and when each was last heard of."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.tables import Executor


class ExecutorRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def beat(self, executor_id: str, now: datetime) -> None:
        """This executor lives."""
        self._session.merge(Executor(id=executor_id, heartbeat_at=now))

    def silent_since(self, since: datetime) -> list[str]:
        """The executors last heard of before then."""
        query = select(Executor.id).where(Executor.heartbeat_at < since)
        return list(self._session.scalars(query))
