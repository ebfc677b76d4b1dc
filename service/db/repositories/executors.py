"""Executors: the processes that run jobs, and when each was last heard of."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.db.repositories.upsert import put
from service.db.tables import Executor


class ExecutorRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def beat(self, executor_id: str, slots: int, now: datetime) -> None:
        """This executor lives, and runs so many jobs at once."""
        put(self._session, Executor, {"id": executor_id, "heartbeat_at": now, "slots": slots})

    def forget(self, executor_id: str) -> None:
        """It has stopped in order."""
        self._session.execute(delete(Executor).where(Executor.id == executor_id))

    def forget_silent(self, silence: timedelta, now: datetime) -> None:
        """Those not heard of for so long are dead."""
        self._session.execute(delete(Executor).where(Executor.heartbeat_at < now - silence))

    def living(self, silence: timedelta, now: datetime) -> list[str]:
        """Those heard of since then."""
        query = select(Executor.id).where(Executor.heartbeat_at >= now - silence)
        return list(self._session.scalars(query))

    def slots(self, silence: timedelta, now: datetime) -> int:
        """How many jobs all living executors together run at once."""
        query = select(func.sum(Executor.slots)).where(Executor.heartbeat_at >= now - silence)
        return self._session.scalar(query) or 0
