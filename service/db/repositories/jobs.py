"""Jobs: every write of a worker carries its token, and fails once another has taken over.

The token of a job with a chip is that of the chip's lease. A job without a chip has no lease;
its token is the number of the attempt, `job.attempt + 1` at the start.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.events import EventRepository
from service.db.repositories.paging import PageRequest, fetch_page
from service.db.tables import Chip, ChipLease, Job, TargetSet
from service.errors import AttemptSupersededError, JobNotFoundError, JobStateError
from service.states import ACTIVE, TERMINAL, WAITING, JobStatus, TargetSetState

_STARTABLE = (*WAITING, *ACTIVE)


class JobFilter(NamedTuple):
    status: Sequence[JobStatus] = ()
    kind: str | None = None
    chip_id: str | None = None


class AttemptStatus(NamedTuple):
    """What was decided about a job since the attempt that drives it began."""

    cancel_requested: bool
    is_current: bool  # no later attempt has begun


class JobRepository:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._events = EventRepository(session)

    def get(self, job_id: str) -> Job:
        """Raises JobNotFoundError."""
        job = self._session.get(Job, job_id, populate_existing=True)
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    def lock(self, job_id: str) -> Job:
        """The job, which nobody else changes before this unit ends. Raises JobNotFoundError."""
        job = self._session.get(Job, job_id, populate_existing=True, with_for_update=True)
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    def list(self, wanted: JobFilter, page: PageRequest) -> tuple[list[Job], str | None]:
        query = select(Job)
        if wanted.status:
            query = query.where(Job.status.in_(wanted.status))
        if wanted.kind is not None:
            query = query.where(Job.kind == wanted.kind)
        if wanted.chip_id is not None:
            query = query.where(Job.chip_id == wanted.chip_id)
        return fetch_page(self._session, query, Job.id, page)

    def add(self, job: Job) -> None:
        """Store a new job and tell that it is queued."""
        self._session.add(job)
        self._session.flush()
        self._tell(job, "job.queued", str(job.attempt), {"kind": job.kind}, job.created_at)

    def queue_depth(self, chip_ids: Sequence[str]) -> dict[str, int]:
        """How many jobs wait for each of these chips."""
        query = (
            select(Job.chip_id, func.count())
            .where(Job.chip_id.in_(chip_ids), Job.status.in_(WAITING))
            .group_by(Job.chip_id)
        )
        return {chip_id: count for chip_id, count in self._session.execute(query) if chip_id}

    def start(self, job_id: str, token: int, executor: str, now: datetime) -> Job:
        """Begin, or begin again after a crash: one more attempt, driven by `token`.

        A job that is being cancelled begins too: its worker has to put the chip back. Raises
        JobStateError where the job has ended, AttemptSupersededError where a later token drives it.
        """
        job = self.get(job_id)
        if job.status not in _STARTABLE:
            raise JobStateError(job_id, job.status, "it is not started")
        newer = or_(Job.token.is_(None), Job.token < token)
        values: dict[str, Any] = {
            "status": _unless_cancelling(JobStatus.RUNNING),
            "reason": None,
            "token": token,
            "executor_id": executor,
            "attempt": Job.attempt + 1,
            "started_at": func.coalesce(Job.started_at, now),
        }
        if job.started_at is None:
            values["weights_in_force"] = self._version_in_force(job.chip_id)
        self._change(job_id, token, values, newer, Job.status.in_(_STARTABLE), _holds(token))
        job = self.get(job_id)
        told = {"attempt": job.attempt, "executor": executor}
        self._tell(job, "job.started", str(job.attempt), told, now)
        return job

    def write_progress(
        self, job_id: str, token: int, progress: Json, spent: Json, now: datetime
    ) -> None:
        """Replace the progress, and tell it; a step that was told before is not told again."""
        self._change(job_id, token, {"progress": progress, "spent": spent}, *_drives(token))
        key = f"{progress.get('phase')}:{progress.get('step')}"
        told = {"progress": progress, "spent": spent}
        self._tell(self.get(job_id), "job.progress", key, told, now)

    def save_checkpoint(
        self,
        job_id: str,
        token: int,
        sha256: str,
        step: int,
        chip_state_sha256: str | None,
        now: datetime,
    ) -> None:
        """From where the next attempt goes on; the chip's state belongs to the same moment."""
        values = {"checkpoint_sha256": sha256, "checkpoint_step": step}
        self._change(job_id, token, values, *_drives(token))
        if chip_state_sha256 is not None:
            self.save_chip_state(job_id, token, chip_state_sha256, now)

    def save_chip_state(self, job_id: str, token: int, sha256: str, now: datetime) -> None:
        """Where a simulated chip's devices stand, written by the job that drives it."""
        self._lock_with_lease(job_id)
        chip_id = select(Job.chip_id).where(Job.id == job_id, *_drives(token)).scalar_subquery()
        saved = self._session.scalar(
            update(Chip)
            .where(Chip.id == chip_id)
            .values(state_sha256=sha256, state_saved_at=now)
            .returning(Chip.id)
        )
        if saved is None:
            raise AttemptSupersededError(job_id, token)

    def end(
        self,
        job_id: str,
        token: int,
        status: JobStatus,
        reason: str | None,
        result: Json | None,
        now: datetime,
    ) -> None:
        """Reach a terminal status, once. The lease is released by its holder."""
        if status not in TERMINAL:
            raise JobStateError(job_id, status, "a job ends in a terminal status")
        values = {"status": status, "reason": reason, "result": result, "ended_at": now}
        self._change(job_id, token, values, *_drives(token))
        self.tell_end(self.get(job_id), now)

    def check_driven_by(self, job_id: str, token: int) -> None:
        """Raises JobNotFoundError, and AttemptSupersededError where it is not this token's."""
        self._lock_with_lease(job_id)
        driven = select(Job.id).where(Job.id == job_id, *_drives(token))
        if self._session.scalar(driven) is None:
            raise AttemptSupersededError(job_id, token)

    def set_waiting(self, job_id: str, reason: str, now: datetime) -> None:
        """A queued job whose chip is not free. Told once an attempt; any other status stays."""
        changed = self._session.scalar(
            update(Job)
            .where(Job.id == job_id, Job.status.in_(WAITING))
            .values(status=JobStatus.WAITING_FOR_CHIP, reason=reason)
            .returning(Job.id)
        )
        if changed is not None:
            job = self.get(job_id)
            self._tell(job, "job.waiting", f"{job.attempt}:chip", {"reason": reason}, now)

    def put_back(self, job_id: str, token: int, reason: str, now: datetime) -> None:
        """The attempt of `token` is over without an answer: the job waits for its next one.

        Raises AttemptSupersededError where another attempt drives it already.
        """
        waiting = case(
            (Job.chip_id.is_(None), JobStatus.QUEUED.value), else_=JobStatus.WAITING_FOR_CHIP.value
        )
        values = {"status": _unless_cancelling(waiting), "reason": reason, "executor_id": None}
        self._change(job_id, token, values, Job.token == token, Job.status.in_(ACTIVE))
        job = self.get(job_id)
        told = {"reason": reason, "checkpoint_step": job.checkpoint_step}
        self._tell(job, "job.waiting", f"{job.attempt}:{token}", told, now)

    def give_up(self, job_id: str, reason: str, now: datetime) -> None:
        """Fail a job that nobody drives any more. Raises AttemptSupersededError."""
        token = self.get(job_id).token or 0
        values = {"status": JobStatus.FAILED, "reason": reason, "ended_at": now}
        self._change(job_id, token, values, Job.token == token, Job.status.in_(ACTIVE))
        self.tell_end(self.get(job_id), now)

    def tell_end(self, job: Job, now: datetime) -> None:
        """Of a job that has reached a terminal status."""
        if job.status not in TERMINAL:
            return
        told = {"status": job.status, "reason": job.reason, "result": job.result}
        self._tell(job, "job.ended", "", told, now)
        if job.status != JobStatus.SUCCEEDED:
            self._fail_collecting(job)

    def _fail_collecting(self, job: Job) -> None:
        """Fail the target set that the job was to make ready; a set that is ready stays so."""
        self._session.execute(
            update(TargetSet)
            .where(TargetSet.id == job.target_set_id, TargetSet.state == TargetSetState.COLLECTING)
            .values(state=TargetSetState.FAILED, reason=job.reason)
        )

    def request_cancel(self, job_id: str, now: datetime) -> Job:
        """Cancelled at once where nothing has started; else `cancelling`, and its worker stops."""
        job = self.lock(job_id)
        if job.status in TERMINAL:
            raise JobStateError(job_id, job.status, "only a job that has not ended is cancelled")
        if job.status in WAITING and job.started_at is None:
            self._cancel_waiting(job, now)
        elif job.status != JobStatus.CANCELLING:
            self._mark_cancelling(job, now)
        return self.get(job_id)

    def attempt_status(self, job_id: str, token: int) -> AttemptStatus:
        """Whether the job is to be cancelled, and whether `token` still drives it."""
        query = select(Job.cancel_requested_at, Job.token).where(Job.id == job_id)
        row = self._session.execute(query).one()
        return AttemptStatus(row.cancel_requested_at is not None, row.token == token)

    def _cancel_waiting(self, job: Job, now: datetime) -> None:
        values = {"status": JobStatus.CANCELLED, "reason": "cancelled before it started"}
        self._session.execute(
            update(Job)
            .where(Job.id == job.id, Job.status == job.status)
            .values(**values, cancel_requested_at=now, ended_at=now)
        )
        self.tell_end(self.get(job.id), now)

    def _mark_cancelling(self, job: Job, now: datetime) -> None:
        self._session.execute(
            update(Job)
            .where(Job.id == job.id, Job.status == job.status)
            .values(status=JobStatus.CANCELLING, cancel_requested_at=now)
        )
        self._tell(job, "job.cancelling", "", {}, now)

    def _change(
        self, job_id: str, token: int, values: dict[str, Any], *conditions: ColumnElement[bool]
    ) -> None:
        self._lock_with_lease(job_id)
        statement = update(Job).where(Job.id == job_id, *conditions).values(**values)
        changed = self._session.scalar(
            statement.returning(Job.id).execution_options(synchronize_session=False)
        )
        if changed is None:
            raise AttemptSupersededError(job_id, token)

    def _lock_with_lease(self, job_id: str) -> None:
        """Nobody takes the job or the lease of its chip before this unit has committed."""
        chip_id = self.lock(job_id).chip_id
        lease = select(ChipLease.token).where(ChipLease.chip_id == chip_id)
        self._session.execute(lease.with_for_update(read=True))

    def _version_in_force(self, chip_id: str | None) -> int | None:
        return self._session.scalar(select(Chip.version_in_force).where(Chip.id == chip_id))

    def _tell(self, job: Job, type: str, key: str, data: Json, now: datetime) -> None:
        self._events.append(job.id, type, key, data, now=now, job_id=job.id, chip_id=job.chip_id)


def _unless_cancelling(status: JobStatus | ColumnElement[str]) -> ColumnElement[str]:
    return case((Job.status == JobStatus.CANCELLING, Job.status), else_=status)


def _drives(token: int) -> tuple[ColumnElement[bool], ...]:
    return (Job.token == token, Job.status.in_(ACTIVE), _holds(token))


def _holds(token: int) -> ColumnElement[bool]:
    """The job needs no chip, or the lease of its chip is held for it with this token."""
    held = (
        select(ChipLease.token)
        .where(
            ChipLease.chip_id == Job.chip_id,
            ChipLease.job_id == Job.id,
            ChipLease.token == token,
            ChipLease.holder.is_not(None),
        )
        .exists()
    )
    return or_(Job.chip_id.is_(None), held)
