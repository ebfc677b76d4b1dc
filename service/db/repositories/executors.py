"""Executors: the processes that run jobs, and when each recorded its last heartbeat."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.db.repositories.upsert import put
from service.db.tables import Executor


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

    def living(self, silence: timedelta, now: datetime) -> list[str]:
        """Return the executors with a heartbeat in the time that a living one may be silent."""
        query = select(Executor.id).where(Executor.heartbeat_at >= now - silence)
        return list(self._session.scalars(query))

    def slots(self, silence: timedelta, now: datetime) -> int:
        """Return how many jobs all living executors together run at once."""
        query = select(func.sum(Executor.slots)).where(Executor.heartbeat_at >= now - silence)
        return self._session.scalar(query) or 0
