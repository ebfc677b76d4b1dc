"""Stalled dispatches: taken but never begun, and begun but lost.

Both are rare faults between the job engine and a database that goes away; without a remedy the job
would wait for ever.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.orm import Session

from service.db.repositories.dispatches import Dispatch, DispatchRepository, requeue
from service.db.repositories.jobs import JobRepository
from service.db.session import Database, clock
from service.jobs.periodic import apart
from service.jobs.queue.dbos_queue import DbosQueue
from service.states import ACTIVE, TERMINAL

UNSTARTED_INTERVAL = 15.0  # s between two looks; longer than from taking a dispatch to its begin
LOST_INTERVAL = 30.0  # s between two looks
_STAYS_LOST = "queue: the job of a lost dispatch was not requeued, it waits for the next look"
_OLD = timedelta(seconds=60)  # a dispatch that is older stands in the engine's tables


class UnstartedDispatches:
    """Dispatches that this executor took from the queue and never began.

    The engine marks a dispatch as taken, then reads it again to begin with it. Where the database
    goes away in between, it writes a log line and forgets the dispatch (`start_dequeued_workflows`
    of DBOS). As its executor lives, no other executor would take the dispatch over.
    """

    def __init__(
        self, queue: DbosQueue, executor: str, here: Callable[[], Collection[str]]
    ) -> None:
        """`here` returns the names of the dispatches that run or wait in this executor."""
        self._queue, self._executor, self._here = queue, executor, here
        self._idle: set[str] = set()

    def requeue(self) -> None:
        """Requeue those that were idle at the last look too; one may just be about to begin."""
        taken = {one.name for one in self._queue.taken() if one.executor == self._executor}
        idle = taken.difference(self._here())
        stalled = sorted(idle & self._idle)
        if stalled:
            structlog.get_logger(__name__).warning(
                "queue: taken dispatches never began, they are requeued", dispatches=stalled
            )
            self._queue.resume(stalled)
        self._idle = idle.difference(stalled)


class LostDispatches:
    """Dispatches that the engine knows nothing of any more: it has ended them by itself.

    An error in the engine's own work ends a workflow, such as a database that goes away for longer
    than the engine waits.
    """

    def __init__(self, database: Database, queue: DbosQueue, silence: timedelta) -> None:
        """`silence` is how long a living executor may be quiet."""
        self._database = database
        self._queue = queue
        self._silence = silence

    def requeue(self) -> None:
        """Requeue the jobs of all lost dispatches."""
        with self._database.reading() as session:
            before = clock(session) - _OLD
            dispatched = DispatchRepository(session, self._silence).dispatched_before(before)
        known = self._queue.open_dispatches([dispatch.name for dispatch in dispatched])
        for dispatch in dispatched:
            if dispatch.name not in known:
                structlog.get_logger(__name__).warning(
                    "queue: the engine lost a dispatch, its job is requeued", dispatch=dispatch.name
                )
                apart(partial(self._requeue, dispatch), _STAYS_LOST, dispatch=dispatch.name)

    def _requeue(self, dispatch: Dispatch) -> None:
        with self._database.writing() as session:
            _requeue(session, dispatch, clock(session))


def _requeue(session: Session, dispatch: Dispatch, now: datetime) -> None:
    """Requeue the job, unless it has ended or was dispatched again since."""
    jobs = JobRepository(session)
    job = jobs.lock(dispatch.job_id)
    if job.status in TERMINAL or job.turn != dispatch.number or job.called_at is None:
        return
    if job.status in ACTIVE and job.token is not None:
        jobs.put_back(job.id, job.token, "its worker has lost it", now)
    requeue(session, job.id, dispatch.number)
