"""Submission of jobs: everything that can be checked is checked before a row exists."""

from datetime import datetime

from pydantic import ValidationError
from sqlalchemy.orm import Session

from ltl_core.errors import ChipUnavailableError
from service.db.repositories.agents import AgentRepository
from service.db.repositories.jobs import JobRepository
from service.db.session import clock
from service.db.tables import Job
from service.errors import JobNotFoundError, JobStateError, RowDamagedError
from service.jobs.engine import JobEngine
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.kinds.spec import JobSubject, check_memory, new_job
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.jobs import ChipSubmission, Submission
from service.states import TERMINAL

_TIMES = ("not_before", "queue_deadline")  # of the first request, not of one that repeats it


class Submitter:
    """Makes jobs in the caller's transaction: the row and its place in the queue, or neither."""

    def __init__(
        self,
        session: Session,
        engine: JobEngine,
        now: datetime,
        key_id: str | None = None,
        kinds: JobKinds = KINDS,
        memory_limit: int | None = None,
    ) -> None:
        """`key_id` names the key whose jobs they are; None for the service's own.

        `memory_limit` is what a job may have, bytes; None where it is not known here.
        """
        self._session = session
        self._engine = engine
        self._now = now
        self._key_id = key_id
        self._kinds = kinds
        self._memory_limit = memory_limit

    def submit(self, request: Submission) -> Job:
        """Queue the job that the request asks for, and return it.

        Raises InvalidFieldsError, ChipUnavailableError, JobTooLargeError, and what the kind's
        `admit` raises; then nothing was stored.
        """
        if request.queue_deadline is not None and request.queue_deadline <= self._now:
            raise InvalidFieldsError(FieldProblem("/queue_deadline", "this time is over"))
        kind = self._kinds[request.kind]
        subject = kind.admit(self._session, request)
        check_memory(self._session, kind, request, self._memory_limit)
        silent = self._silence(request) if kind.needs_chip else None
        job = self._queue(request, subject)
        if silent is not None:
            reason = f"its chip is offline: {silent}"
            JobRepository(self._session).set_waiting(job.id, reason, self._now)
        return job

    def again(self, job: Job) -> Job:
        """Queue a new job with the same request.

        Raises JobStateError while the old one goes on, RowDamagedError if its request is none.
        """
        if job.status not in TERMINAL:
            raise JobStateError(job.id, job.status, "only a job that has ended can be retried")
        kind = self._kinds[job.kind]
        try:
            asked = {name: value for name, value in job.request.items() if name not in _TIMES}
            request = kind.request.model_validate(asked)
        except (AttributeError, ValidationError) as error:
            raise RowDamagedError(JobNotFoundError.what, job.id) from error
        return self.submit(request)

    def _silence(self, request: Submission) -> str | None:
        """Return why the chip is offline, for a job that waits; None where it is not.

        Raises ChipUnavailableError where the request wants no waiting.
        """
        if not isinstance(request, ChipSubmission):
            raise TypeError(f"A request of kind {request.kind} names no chip.")
        agents = AgentRepository(self._session)
        silent = agents.why_silent(request.chip_id, clock(self._session))
        if silent is not None and request.if_unavailable == "reject":
            raise ChipUnavailableError(request.chip_id, silent)
        return silent

    def _queue(self, request: Submission, subject: JobSubject) -> Job:
        job = new_job(request, subject, self._now, self._key_id)
        JobRepository(self._session).add(job)
        self._engine.enqueue(self._session, job)
        return job
