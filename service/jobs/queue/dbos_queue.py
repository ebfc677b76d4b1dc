"""The engine's queue, from outside: whoever submits jobs needs no more, and starts none.

DBOS keeps its tables in our database, so that a job's row and its place in the queue are one
transaction. What stands in the queue is a *dispatch* of a job: `service.db.repositories.dispatches`
decides when a job is dispatched.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy import event
from sqlalchemy.orm import Session

from service.db.isolation import isolated
from service.db.repositories.dispatches import (
    Dispatch,
    DispatchRepository,
    dispatch_name,
    requeue,
)
from service.db.repositories.jobs import JobRepository
from service.db.session import Database, clock
from service.db.tables import Job

APPLICATION = "tandemcal"
VERSION = "2"  # raised by hand, when jobs queued by older code could not be run any more
QUEUE = "jobs"
WORKFLOW = "run_job"
_NOT_PUSHED = "queue: a job was not handed to the engine, it is tried again in a minute"
# What the engine refuses a job for may pass, such as its own upgrade; a refusal costs one log line.
_PUSH_AGAIN = timedelta(minutes=1)
_OPEN = ["ENQUEUED", "PENDING", "DELAYED"]
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class TakenDispatch(NamedTuple):
    """A dispatch that an executor has taken from the queue."""

    name: str
    executor: str | None


class DbosQueue:
    """Hands dispatches to the executors."""

    def __init__(self, database: Database, silence: timedelta) -> None:
        """`silence` is how long a living executor may be quiet."""
        self._database = database
        self._silence = silence
        self._serializer = DBOSPortableJSONSerializer()
        self._client = DBOSClient(
            system_database_engine=database.engine,
            serializer=self._serializer,
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def migrate(self) -> None:
        """Make DBOS's tables, or bring them to the newest schema."""
        DBOS.migrate(self._database.url)

    def enqueue(self, session: Session, jobs: Sequence[Job]) -> None:
        """Queue the jobs in the caller's transaction: all are kept, or none.

        Several that come together are put in order as soon as they are stored.
        """
        dispatch = self._dispatches(session).dispatch_new(jobs, clock(session))
        if dispatch is not None:
            self._push(session, dispatch)
        elif len(jobs) > 1:
            event.listen(session, "after_commit", self.look_soon, once=True)

    def look_soon(self, _: object = None) -> None:
        """Look after the queue at once, where this process does that."""

    def dispatch_next(self, session: Session, now: datetime) -> None:
        """Dispatch the next jobs, as many as there is room for."""
        for dispatch in self._dispatches(session).dispatch_next(now):
            with isolated(session, _NOT_PUSHED, job_id=dispatch.job_id) as outcome:
                self._push(session, dispatch)
            if outcome.failed:
                requeue(session, dispatch.job_id, dispatch.number, held_until=now + _PUSH_AGAIN)

    def any_to_dispatch(self, session: Session, now: datetime) -> bool:
        """Return whether a job waits that could be dispatched."""
        return self._dispatches(session).any_waiting(now)

    def cancel_queued(self, job_id: str) -> None:
        """Forget a job that has not started. A started one finds its row ended, and stops.

        Raises JobNotFoundError.
        """
        with self._database.reading() as session:
            job = JobRepository(session).get(job_id)
        name = dispatch_name(job.id, job.turn)
        if self.open_dispatches([name]):
            self._client.cancel_workflow(name)

    def taken(self) -> list[TakenDispatch]:
        """Return every dispatch that an executor has taken and not finished."""
        found = self._client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False
        )
        return [TakenDispatch(one.workflow_id, one.executor_id) for one in found]

    def open_dispatches(self, names: Sequence[str]) -> set[str]:
        """Return those of these names that wait in the queue or are being worked on."""
        if not names:
            return set()
        found = self._client.list_workflows(
            workflow_ids=list(names), status=_OPEN, load_input=False, load_output=False
        )
        return {one.workflow_id for one in found}

    def resume(self, names: Sequence[str]) -> None:
        """Put dispatches back into the queue whose executor is dead, or never began them."""
        if names:
            self._client.resume_workflows(list(names), queue_name=QUEUE)

    def forget(self, before: datetime, most: int) -> int:
        """Delete up to `most` dispatches that were over before then; return how many.

        A dispatch's number does not come again. Two who do this at once delete the same.
        """
        found = self._client.list_workflows(
            name=WORKFLOW,
            status=_OVER,
            completed_before=before.isoformat(),
            limit=most,
            load_input=False,
            load_output=False,
        )
        if found:
            self._client.delete_workflows([one.workflow_id for one in found])
        return len(found)

    def close(self) -> None:
        """Close the connections to the engine's tables."""
        self._client.destroy()

    def _dispatches(self, session: Session) -> DispatchRepository:
        return DispatchRepository(session, self._silence)

    def _push(self, session: Session, dispatch: Dispatch) -> None:
        self._client.enqueue_in_transaction(
            session,
            {
                "workflow_name": WORKFLOW,
                "workflow_id": dispatch.name,
                "queue_name": QUEUE,
                "priority": dispatch.priority + 1,
                "app_version": VERSION,
            },
            dispatch.job_id,
            dispatch.number,
        )
