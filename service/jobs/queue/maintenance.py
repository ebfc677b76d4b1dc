"""Maintenance of the queue: jobs are dispatched, late ones expire, dead executors are replaced.

Every process that knows the queue does this. The processes do not disturb each other: locks in the
database let one of them work at a time.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

from service.db import locks
from service.db.outage import AWAY
from service.db.repositories.deadlines import DeadlineRepository
from service.db.session import Database, clock
from service.jobs.periodic import PeriodicTask, apart
from service.jobs.queue import stalled
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.queue.failover import Failover
from service.jobs.queue.stalled import LostDispatches
from service.logs import warn_in_a_line

_INTERVAL = 1.0  # s between two looks; the end of a job is one more occasion
_AWAY = "queue maintenance failed, waiting jobs are not dispatched until the next look"
_NOT_REPLACED = "queue maintenance failed, jobs of dead executors wait for the next look"
_NOT_REQUEUED = "queue maintenance failed, stalled dispatches wait for the next look"


class QueueMaintenance:
    """A thread that looks after the queue."""

    def __init__(self, database: Database, queue: DbosQueue, silence: timedelta) -> None:
        """`silence` is how long a living executor may be quiet."""
        self._database = database
        self._queue = queue
        self._failover = Failover(database, queue, silence)
        lost = LostDispatches(database, queue, silence)
        self._tasks = [PeriodicTask(lost.requeue, stalled.LOST_INTERVAL)]
        self._occasion = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="queue-maintenance", daemon=True)

    def add(self, task: PeriodicTask) -> None:
        """Add a task, before the start."""
        self._tasks.append(task)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once: a job has ended, so another one may be dispatched."""
        self._occasion.set()

    def stop(self) -> None:
        """Stop the thread, if it was started, and wait for its end."""
        if self._thread.is_alive():
            self._stopping = True
            self._occasion.set()
            self._thread.join()

    def run_once(self) -> None:
        """Do everything that is due. An error, such as a database that is away, is logged."""
        try:
            self._apart(self._dispatch_waiting, _AWAY)
            self._apart(self._failover.run_if_due, _NOT_REPLACED)
            for task in self._tasks:
                self._apart(task.run_if_due, _NOT_REQUEUED)
        except AWAY as error:
            self._failover.restart_watch()
            warn_in_a_line(__name__, _AWAY, error)

    def _run(self) -> None:
        while not self._stopping:
            self._occasion.clear()
            self.run_once()
            self._occasion.wait(_INTERVAL)

    def _apart(self, run: Callable[[], object], event: str) -> None:
        """Run one part. Whether executors are silent is watched anew after an error."""
        if apart(lambda: (run(),), event) is None:
            self._failover.restart_watch()

    def _dispatch_waiting(self) -> None:
        if self._anything_to_do():
            self._dispatch()

    def _anything_to_do(self) -> bool:
        """Ask without holding up those who write."""
        with self._database.reading() as session:
            now = clock(session)
            late = DeadlineRepository(session)
            return self._queue.any_to_dispatch(session, now) or late.any_late(now)

    def _dispatch(self) -> None:
        with self._database.writing() as session:
            locks.hold(session, locks.QUEUE_MAINTENANCE)
            now = clock(session)
            DeadlineRepository(session).expire(now)
            self._queue.dispatch_next(session, now)
