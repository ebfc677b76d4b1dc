"""The rows that a job's messages become: every write carries the job's token."""

from datetime import datetime

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db.repositories.agents import AgentRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.policies import PolicyRepository
from service.db.tables import Job
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.kinds.results import ResultStore
from service.jobs.messages import Checkpointed, Ended, Logged, Progressed
from service.states import JobStatus


class Recorder:
    """Writes for one attempt at a job, in the session's transaction.

    Every method raises AttemptSupersededError where a later attempt drives the job.
    """

    def __init__(
        self, session: Session, job: Job, token: int, now: datetime, kinds: JobKinds = KINDS
    ) -> None:
        self._session = session
        self._kinds = kinds
        self._job = job
        self._token = token
        self._now = now
        self._jobs = JobRepository(session)

    def progress(self, message: Progressed) -> None:
        """Record a step, and how long the calls of the chip's agent took."""
        self._jobs.write_progress(
            self._job.id, self._token, message.progress, message.spent, self._now
        )
        if self._job.chip_id is not None and message.call_times:
            AgentRepository(self._session).keep_call_times(self._job.chip_id, message.call_times)

    def checkpoint(self, message: Checkpointed) -> None:
        """Record the checkpoint from which a later attempt goes on."""
        self._jobs.save_checkpoint(
            self._job.id,
            self._token,
            message.sha256,
            message.step,
            message.chip_state_sha256,
            self._now,
        )

    def log(self, message: Logged, number: int) -> None:
        """Record a line of the job's log. Lines of different attempts have different keys."""
        self._jobs.check_driven_by(self._job.id, self._token)
        job, key = self._job, f"{self._job.attempt}:{number}"
        EventRepository(self._session).append(
            job.id,
            "job.log",
            key,
            {"line": message.line},
            now=self._now,
            job_id=job.id,
            chip_id=job.chip_id,
        )

    def end(self, ended: Ended, artifacts: ArtifactStore) -> None:
        """Record the result, what it made and the terminal status; free the chip."""
        result = ended.result
        if ended.status == JobStatus.SUCCEEDED:
            to = ResultStore(self._session, self._job, self._token, self._now, artifacts)
            result = self._kinds[self._job.kind].store(to, ended)
        if ended.chip_state_sha256 is not None:
            self._jobs.save_chip_state(
                self._job.id, self._token, ended.chip_state_sha256, self._now
            )
        self._jobs.end(self._job.id, self._token, ended.status, ended.reason, result, self._now)
        if self._job.chip_id is not None:
            PolicyRepository(self._session).after_job(self._jobs.get(self._job.id), self._now)
            LeaseRepository(self._session).release(self._job.chip_id, self._token)
