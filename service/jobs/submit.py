"""Submission of jobs: everything that can be checked is checked before a row exists."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy.orm import Session

from ltl_core.errors import ChipUnavailableError
from service.damage_errors import RowDamagedError
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.session import clock
from service.db.tables import Job
from service.errors import JobNotFoundError, JobStateError
from service.jobs.engine import JobEngine
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.kinds.spec import JobSubject, check_memory, new_job
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.jobs import ChipSubmission, Submission
from service.states import TERMINAL
from service.wait_reasons import offline

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
        self._held: Collection[str] | None = None  # chips; None where no requests were looked at
        self._silences: dict[str, str | None] = {}  # of chips, as far as they were asked for

    def submit(self, request: Submission) -> Job:
        """Queue the job that the request asks for, and return it.

        Raises what `admit` raises; then nothing was stored.
        """
        return self.queue([self.admit(request)])[0]

    def look_at(self, requests: Sequence[Submission]) -> None:
        """Read what several requests that come together need, before each is admitted."""
        chips = {one.chip_id for one in requests if isinstance(one, ChipSubmission)}
        if chips:
            self._held = ChipRepository(self._session).hold(chips)
            agents, now = AgentRepository(self._session), clock(self._session)
            offline = agents.offline(sorted(chips), now)
            self._silences = dict.fromkeys(chips - offline)

    def must_wait(self, request: Submission) -> bool:
        """Tell whether to admit it waits for somebody: another unit changes its chip, maybe."""
        if self._held is None or not isinstance(request, ChipSubmission):
            return False
        return request.chip_id not in self._held

    def admit(self, request: Submission, key_id: str | None = None) -> "Admitted":
        """Check a request, and store nothing. `key_id` is in place of that of all requests.

        Raises InvalidFieldsError, ChipUnavailableError, JobTooLargeError, and what the kind's
        `admit` raises.
        """
        if request.queue_deadline is not None and request.queue_deadline <= self._now:
            raise InvalidFieldsError(FieldProblem("/queue_deadline", "this time is over"))
        kind = self._kinds[request.kind]
        subject = kind.admit(self._session, request)
        check_memory(self._session, kind, request, self._memory_limit)
        silent = self._silence(request) if kind.needs_chip else None
        return Admitted(request, subject, silent, key_id or self._key_id)

    def queue(self, admitted: Sequence["Admitted"]) -> list[Job]:
        """Queue the jobs of requests that were admitted, and return them in the same order."""
        if not admitted:
            return []
        jobs = [new_job(one.request, one.subject, self._now, one.key_id) for one in admitted]
        JobRepository(self._session).add_all(jobs)
        self._engine.enqueue(self._session, jobs)
        for job, one in zip(jobs, admitted, strict=True):
            if one.silent is not None:
                JobRepository(self._session).set_waiting(job.id, offline(one.silent), self._now)
        return jobs

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
        if request.chip_id not in self._silences:
            agents, now = AgentRepository(self._session), clock(self._session)
            self._silences[request.chip_id] = agents.why_silent(request.chip_id, now)
        silent = self._silences[request.chip_id]
        if silent is not None and request.if_unavailable == "reject":
            raise ChipUnavailableError(request.chip_id, silent)
        return silent


class Admitted(NamedTuple):
    """A request that was found good, and what its job's row names."""

    request: Submission
    subject: JobSubject
    silent: str | None  # why its chip is offline
    key_id: str | None  # of the key whose job it is; None for the service's own
