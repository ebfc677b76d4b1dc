"""What a job's messages become: rows, each written under the job's token, and blocks replaced."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db.repositories.agents import AgentRepository
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.policies import PolicyRepository
from service.db.tables import Job
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.kinds.spec import ResultStore
from service.jobs.messages import Checkpointed, Ended, JobDescription, Logged, Progressed
from service.states import JobStatus

_BETWEEN_EVENTS = timedelta(seconds=0.5)  # of progress


class ProgressPace:
    """Spaces the events of the progress of one attempt: at most two a second.

    The child sends no more often by itself, but what it sends arrives early or late, and a step
    that is about to become a checkpoint is sent at once.
    """

    def __init__(self) -> None:
        self._told_at: datetime | None = None

    def tells(self, now: datetime) -> bool:
        """Tell whether there is an event now."""
        if self._told_at is not None and timedelta(0) <= now - self._told_at < _BETWEEN_EVENTS:
            return False
        self._told_at = now
        return True


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

    def progress(self, message: Progressed, pace: ProgressPace | None = None) -> None:
        """Record a step, and how long the calls of the chip's agent took.

        The row always has the last step; `pace` decides whether an event tells of it.
        """
        self._jobs.write_progress(
            self._job.id,
            self._token,
            message.progress,
            message.spent,
            self._now,
            told=pace is None or pace.tells(self._now),
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
        about, key = Subject(self._job.id, self._job.chip_id), f"{self._job.attempt}:{number}"
        EventRepository(self._session).append(
            about, "job.log", key, {"line": message.line}, self._now
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


class SupersededBlocks:
    """Removes blocks of one attempt once the newer ones are recorded.

    A checkpoint carries its job's id and a chip's state its chip's, so no other row names them.
    What a crash leaves, the next attempt replaces.
    """

    def __init__(self, artifacts: ArtifactStore, description: JobDescription) -> None:
        self._artifacts = artifacts
        self._checkpoint = description.checkpoint_sha256
        self._chip_state = description.chip.state_sha256 if description.chip else None

    def checkpoint_recorded(self, message: Checkpointed) -> None:
        """Remove the checkpoint and the chip's state of before."""
        self._replace_chip_state(message.chip_state_sha256)
        self._replace_checkpoint(message.sha256)

    def end_recorded(self, message: Ended) -> None:
        """Remove the last checkpoint, which an ended job does not need, and the state of before."""
        self._replace_chip_state(message.chip_state_sha256)
        self._replace_checkpoint(None)

    def _replace_checkpoint(self, newer: str | None) -> None:
        if self._checkpoint is not None and self._checkpoint != newer:
            self._artifacts.remove(self._checkpoint)
        self._checkpoint = newer

    def _replace_chip_state(self, newer: str | None) -> None:
        if newer is None or newer == self._chip_state:
            return
        if self._chip_state is not None:
            self._artifacts.remove(self._chip_state)
        self._chip_state = newer
