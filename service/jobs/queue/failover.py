"""Fail-over: what dead executors had taken from the queue is given to those who live.

Only on PostgreSQL: on SQLite there is one executor, and its next start goes on with everything.
The jobs' own leases and tokens decide who drives. A mistake here, such as taking a frozen executor
for dead, costs time and nothing else.
"""

import time
from datetime import timedelta

import structlog

from service.db import locks
from service.db.repositories.executors import ExecutorRepository
from service.db.session import Database, clock
from service.jobs.queue.dbos_queue import DbosQueue

_LOCK = "failover"
_LOOKS = 4  # in the time that a living executor may be silent


class Failover:
    """Looks for dispatches whose executor has fallen silent.

    It acts only after it could watch for as long as a living executor may be silent: after an
    outage of the database every executor has been silent.
    """

    def __init__(self, database: Database, queue: DbosQueue, silence: timedelta) -> None:
        """`silence` is how long a living executor may be quiet."""
        self._database = database
        self._queue = queue
        self._silence = silence
        self._watched_since = self._last_look = time.monotonic()

    def restart_watch(self) -> None:
        """Watch anew: the database was away, so silence says nothing."""
        self._watched_since = time.monotonic()

    def run_if_due(self) -> None:
        """Put the dispatches of dead executors back into the queue, if it is time to look."""
        now, silence = time.monotonic(), self._silence.total_seconds()
        if self._database.is_sqlite or now - self._last_look < silence / _LOOKS:
            return
        if now - self._last_look > silence:  # this process was frozen, and maybe all of them
            self.restart_watch()
        self._last_look = now
        if now - self._watched_since >= silence:
            self._replace_dead()

    def _replace_dead(self) -> None:
        with self._database.writing() as session:
            if not locks.try_hold(session, _LOCK):
                return
            executors, now = ExecutorRepository(session), clock(session)
            living = set(executors.living(self._silence, now))
            orphans = [taken for taken in self._queue.taken() if taken.executor not in living]
            names = [orphan.name for orphan in orphans]
            if orphans:
                structlog.get_logger(__name__).warning(
                    "fail-over: executors are silent, their jobs are requeued",
                    executors=sorted({str(orphan.executor) for orphan in orphans}),
                    jobs=names,
                )
            self._queue.resume(names)
            executors.forget_silent(self._silence, now)
