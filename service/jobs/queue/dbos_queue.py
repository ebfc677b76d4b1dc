"""The engine's queue, from outside: whoever submits jobs needs no more, and starts none.

DBOS keeps its tables in our database, so that a job's row and its place in the queue are one
transaction. What stands in the queue is a *turn* of a job: `service.db.repositories.turns` says
when a job is called.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy.orm import Session

from service.db.repositories.jobs import JobRepository
from service.db.repositories.turns import Turn, TurnRepository
from service.db.session import Database, clock
from service.db.tables import Job

APPLICATION = "tandemcal"
VERSION = "2"  # raised by hand, when jobs queued by older code could not be run any more
QUEUE = "jobs"
WORKFLOW = "run_job"
_OPEN = ["ENQUEUED", "PENDING", "DELAYED"]
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Claimed(NamedTuple):
    """A turn that an executor has taken from the queue."""

    name: str
    executor: str | None


class DbosQueue:
    """Hands turns to the executors. `silence` is how long a living one may be quiet."""

    def __init__(self, database: Database, silence: timedelta) -> None:
        self._database = database
        self._silence = silence
        self.serializer = DBOSPortableJSONSerializer()
        self._client = DBOSClient(
            system_database_engine=database.engine,
            serializer=self.serializer,
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def migrate(self) -> None:
        """Make DBOS's tables, or bring them to the newest schema."""
        DBOS.migrate(self._database.url)

    def enqueue(self, session: Session, job: Job) -> None:
        """Queue the job in the caller's transaction: both are kept, or neither."""
        turn = self._turns(session).call_new(job, clock(session))
        if turn is not None:
            self._push(session, turn)

    def call_next(self, session: Session, now: datetime) -> None:
        """Call the jobs whose turn it is."""
        for turn in self._turns(session).call_next(now):
            self._push(session, turn)

    def any_to_call(self, session: Session, now: datetime) -> bool:
        """Does a job wait that could be called?"""
        return self._turns(session).any_waiting(now)

    def cancel_queued(self, job_id: str) -> None:
        """Forget a job that has not started. A started one finds its row ended, and stops."""
        with self._database.reading() as session:
            job = JobRepository(session).get(job_id)
        name = Turn(job.id, job.turn, job.priority).name
        if self.open_turns([name]):
            self._client.cancel_workflow(name)

    def claimed(self) -> list[Claimed]:
        """Every turn that an executor has taken and not finished."""
        found = self._client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False
        )
        return [Claimed(one.workflow_id, one.executor_id) for one in found]

    def open_turns(self, names: Sequence[str]) -> set[str]:
        """Those among these that wait in the queue or are being worked on."""
        if not names:
            return set()
        found = self._client.list_workflows(
            workflow_ids=list(names), status=_OPEN, load_input=False, load_output=False
        )
        return {one.workflow_id for one in found}

    def resume(self, names: Sequence[str]) -> None:
        """Put turns back into the queue whose executor is dead."""
        if names:
            self._client.resume_workflows(list(names), queue_name=QUEUE)

    def forget(self, before: datetime, most: int) -> int:
        """Of the turns that were over before then, so many; how many there were.

        A turn's number does not come again. Two who do this at once do the same.
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
        self._client.destroy()

    def _turns(self, session: Session) -> TurnRepository:
        return TurnRepository(session, self._silence)

    def _push(self, session: Session, turn: Turn) -> None:
        self._client.enqueue_in_transaction(
            session,
            {
                "workflow_name": WORKFLOW,
                "workflow_id": turn.name,
                "queue_name": QUEUE,
                "priority": turn.priority + 1,
                "app_version": VERSION,
            },
            turn.job_id,
            turn.number,
        )
