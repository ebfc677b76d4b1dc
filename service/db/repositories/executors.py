"""Executors: the processes that run jobs, and when each recorded its last heartbeat."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.db.executor_tables import Executor
from service.db.isolation import ReadableRows, readable_rows
from service.db.repositories.upsert import put
from service.db.tables import Job
from service.states import ACTIVE


class ExecutorRepository:
    """Reads and writes executors in the session's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def beat(self, executor_id: str, slots: int, now: datetime) -> None:
        """Record that this executor lives, and runs up to `slots` jobs at once."""
        put(self._session, Executor, {"id": executor_id, "heartbeat_at": now, "slots": slots})

    def forget(self, executor_id: str) -> None:
        """Delete an executor that has stopped in order."""
        self._session.execute(delete(Executor).where(Executor.id == executor_id))

    def forget_silent(self, silence: timedelta, now: datetime) -> None:
        """Delete the executors without a heartbeat for so long: they are dead."""
        self._session.execute(delete(Executor).where(Executor.heartbeat_at < now - silence))

    def list(self, limit: int) -> ReadableRows[Executor]:
        """Return the executors, those with the newest heartbeat first."""
        query = select(Executor).order_by(Executor.heartbeat_at.desc(), Executor.id).limit(limit)
        found: ReadableRows[Any] = readable_rows(self._session, query, Executor.id)
        return ReadableRows([row[0] for row in found.rows], found.unreadable)

    def load(self) -> dict[str, int]:
        """Return how many jobs each executor runs; those that run none are absent."""
        query = select(Job.executor_id, func.count()).where(Job.status.in_(ACTIVE))
        rows = self._session.execute(query.group_by(Job.executor_id))
        return {executor: jobs for executor, jobs in rows if executor is not None}

    def living(self, silence: timedelta, now: datetime) -> Sequence[str]:
        """Return the executors with a heartbeat in the time that a living one may be silent."""
        query = select(Executor.id).where(Executor.heartbeat_at >= now - silence)
        return self._session.scalars(query).all()

    def slots(self, silence: timedelta, now: datetime) -> int:
        """Return how many jobs all living executors together run at once."""
        query = select(func.sum(Executor.slots)).where(Executor.heartbeat_at >= now - silence)
        return self._session.scalar(query) or 0
