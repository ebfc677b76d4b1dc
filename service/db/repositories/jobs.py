"""Jobs. Every write of a worker carries its token, and fails once a later attempt has begun.

The token of a job with a chip is that of the chip's lease. A job without a chip has no lease;
its token is the number of the attempt, `job.attempt + 1` at the start.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.job_conditions import JobFilter, drives, holds, unless_cancelling
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.versions import in_force
from service.db.tables import Chip, ChipLease, Job, TargetSet, WeightVersion
from service.db.upkeep_tables import Fingerprint
from service.errors import AttemptSupersededError, JobNotFoundError, JobStateError
from service.states import ACTIVE, TERMINAL, WAITING, JobStatus, TargetSetState

_STARTABLE = (*WAITING, *ACTIVE)


class AttemptStatus(NamedTuple):
    """What was decided about a job since the attempt that drives it began."""

    cancel_requested: bool
    is_current: bool  # no later attempt has begun


class JobRepository:
    """Stores jobs and changes their status."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._events = EventRepository(session)

    def get(self, job_id: str) -> Job:
        """Return the job. Raises JobNotFoundError and RowDamagedError."""
        return self._load(job_id)

    def lock(self, job_id: str) -> Job:
        """Return the job and lock its row until this unit ends.

        Raises JobNotFoundError and RowDamagedError.
        """
        return self._load(job_id, lock=True)

    def list(self, wanted: JobFilter, page: PageRequest) -> RowPage[Job]:
        """Return one page of jobs."""
        query = select(Job).where(*wanted.conditions())
        return fetch_page(self._session, query, Job.id, page)

    def add(self, job: Job) -> None:
        """Store a new job, with the event `job.queued`."""
        self.add_all([job])

    def add_all(self, jobs: Sequence[Job]) -> None:
        """Store new jobs, each with the event `job.queued`."""
        self._session.add_all(jobs)
        self._session.flush()
        for job in jobs:
            self._emit(job, "job.queued", str(job.attempt), {"kind": job.kind}, job.created_at)

    def start(self, job_id: str, token: int, executor: str, now: datetime) -> Job:
        """Begin the next attempt of a job, driven by `token`.

        A job that is being cancelled begins too: its worker has to restore the chip. Raises
        JobStateError if the job has ended, AttemptSupersededError if a later token drives it.
        """
        job = self.get(job_id)
        if job.status not in _STARTABLE:
            raise JobStateError(job_id, job.status, "it is not started")
        newer = or_(Job.token.is_(None), Job.token < token)
        values: dict[str, Any] = {
            "status": unless_cancelling(JobStatus.RUNNING),
            "reason": None,
            "token": token,
            "executor_id": executor,
            "attempt": Job.attempt + 1,
            "started_at": func.coalesce(Job.started_at, now),
        }
        if job.started_at is None:
            values |= self._state_of_chip(job.chip_id)
        self._change(job_id, token, values, newer, Job.status.in_(_STARTABLE), holds(token))
        job = self.get(job_id)
        payload = {"attempt": job.attempt, "executor": executor}
        self._emit(job, "job.started", str(job.attempt), payload, now)
        return job

    def write_progress(
        self,
        job_id: str,
        token: int,
        progress: Json,
        spent: Json,
        now: datetime,
        *,
        told: bool = True,
    ) -> None:
        """Replace the progress, with an event if it is `told`. Raises AttemptSupersededError."""
        self._change(job_id, token, {"progress": progress, "spent": spent}, *drives(token))
        if not told:
            return
        key = f"{progress.get('phase')}:{progress.get('step')}"
        payload = {"progress": progress, "spent": spent}
        self._emit(self.get(job_id), "job.progress", key, payload, now)

    def save_checkpoint(
        self,
        job_id: str,
        token: int,
        sha256: str,
        step: int,
        chip_state_sha256: str | None,
        now: datetime,
    ) -> None:
        """Store the checkpoint from which a later attempt continues.

        A state of a simulated chip belongs to the same moment. Raises AttemptSupersededError.
        """
        values = {"checkpoint_sha256": sha256, "checkpoint_step": step}
        self._change(job_id, token, values, *drives(token))
        if chip_state_sha256 is not None:
            self.save_chip_state(job_id, token, chip_state_sha256, now)

    def save_chip_state(self, job_id: str, token: int, sha256: str, now: datetime) -> None:
        """Store the state of a simulated chip's devices. Raises AttemptSupersededError."""
        self._lock_with_lease(job_id)
        chip_id = select(Job.chip_id).where(Job.id == job_id, *drives(token)).scalar_subquery()
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
        """Set a terminal status. The holder of the lease releases it.

        Raises JobStateError if the status is not terminal, and AttemptSupersededError.
        """
        if status not in TERMINAL:
            raise JobStateError(job_id, status, "a job ends in a terminal status")
        values = {"status": status, "reason": reason, "result": result, "ended_at": now}
        self._change(job_id, token, values, *drives(token))
        self.emit_end(self.get(job_id), now)

    def check_driven_by(self, job_id: str, token: int) -> None:
        """Raise AttemptSupersededError unless `token` drives the job.

        Raises JobNotFoundError too.
        """
        self._lock_with_lease(job_id)
        driven = select(Job.id).where(Job.id == job_id, *drives(token))
        if self._session.scalar(driven) is None:
            raise AttemptSupersededError(job_id, token)

    def set_waiting(self, job_id: str, reason: str, now: datetime) -> None:
        """Set a waiting job to `waiting_for_chip`, with one event an attempt.

        A job in any other status stays as it is.
        """
        changed = self._session.scalar(
            update(Job)
            .where(Job.id == job_id, Job.status.in_(WAITING))
            .values(status=JobStatus.WAITING_FOR_CHIP, reason=reason)
            .returning(Job.id)
        )
        if changed is not None:
            job = self.get(job_id)
            self._emit(job, "job.waiting", f"{job.attempt}:chip", {"reason": reason}, now)

    def put_back(self, job_id: str, token: int, reason: str, now: datetime) -> None:
        """End the attempt of `token` without a result: the job waits for its next attempt.

        Raises AttemptSupersededError if another attempt drives the job already.
        """
        waiting = case(
            (Job.chip_id.is_(None), JobStatus.QUEUED.value), else_=JobStatus.WAITING_FOR_CHIP.value
        )
        values = {"status": unless_cancelling(waiting), "reason": reason, "executor_id": None}
        self._change(job_id, token, values, Job.token == token, Job.status.in_(ACTIVE))
        job = self.get(job_id)
        payload = {"reason": reason, "checkpoint_step": job.checkpoint_step}
        self._emit(job, "job.waiting", f"{job.attempt}:{token}", payload, now)

    def give_up(self, job_id: str, reason: str, now: datetime) -> None:
        """Set a job to failed that no worker drives any more. Raises AttemptSupersededError."""
        token = self.get(job_id).token or 0
        values = {"status": JobStatus.FAILED, "reason": reason, "ended_at": now}
        self._change(job_id, token, values, Job.token == token, Job.status.in_(ACTIVE))
        self.emit_end(self.get(job_id), now)

    def emit_end(self, job: Job, now: datetime) -> None:
        """Write the event `job.ended` of a job in a terminal status; do nothing for other jobs.

        The target set of a `collect` job that did not succeed is set to failed.
        """
        if job.status not in TERMINAL:
            return
        payload = {"status": job.status, "reason": job.reason, "result": job.result}
        self._emit(job, "job.ended", "", payload, now)
        if job.status != JobStatus.SUCCEEDED:
            self._fail_collecting(job)

    def _fail_collecting(self, job: Job) -> None:
        """Set the target set of a `collect` job to failed; a set that is ready stays so."""
        self._session.execute(
            update(TargetSet)
            .where(TargetSet.id == job.target_set_id, TargetSet.state == TargetSetState.COLLECTING)
            .values(state=TargetSetState.FAILED, reason=job.reason)
        )

    def request_cancel(self, job_id: str, now: datetime) -> Job:
        """Cancel a job: at once if it has not started, else its worker stops it.

        Raises JobNotFoundError, and JobStateError if the job has ended.
        """
        job = self.lock(job_id)
        if job.status in TERMINAL:
            raise JobStateError(job_id, job.status, "only a job that has not ended is cancelled")
        if job.status in WAITING and job.started_at is None:
            self._cancel_waiting(job, now)
        elif job.status != JobStatus.CANCELLING:
            self._mark_cancelling(job, now)
        return self.get(job_id)

    def attempt_status(self, job_id: str, token: int) -> AttemptStatus:
        """Return whether the job is to be cancelled, and whether `token` still drives it."""
        query = select(Job.cancel_requested_at, Job.token).where(Job.id == job_id)
        row = self._session.execute(query).one()
        return AttemptStatus(row.cancel_requested_at is not None, row.token == token)

    def _cancel_waiting(self, job: Job, now: datetime) -> None:
        reason = "cancelled before it started"
        self._set_cancelled(job, now, status=JobStatus.CANCELLED, reason=reason, ended_at=now)
        self.emit_end(self.get(job.id), now)

    def _mark_cancelling(self, job: Job, now: datetime) -> None:
        self._set_cancelled(job, now, status=JobStatus.CANCELLING)
        self._emit(job, "job.cancelling", "", {}, now)

    def _set_cancelled(self, job: Job, now: datetime, **values: Any) -> None:
        unchanged = (Job.id == job.id, Job.status == job.status)
        self._session.execute(
            update(Job).where(*unchanged).values(**values, cancel_requested_at=now)
        )

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
        """Lock the job and the lease of its chip until this unit ends."""
        chip_id = self.lock(job_id).chip_id
        lease = select(ChipLease.token).where(ChipLease.chip_id == chip_id)
        self._session.execute(lease.with_for_update(read=True))

    def _load(self, job_id: str, *, lock: bool = False) -> Job:
        job = load_row(self._session, Job, job_id, JobNotFoundError.what, lock=lock)
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    def _state_of_chip(self, chip_id: str | None) -> dict[str, Any]:
        """Return what a job keeps of its chip: the version in force and the newest fingerprint."""
        newest = select(func.max(Fingerprint.id)).where(Fingerprint.chip_id == chip_id)
        query = select(
            Chip.version_in_force.label("weights_in_force"),
            WeightVersion.id.label("weights_id"),
            newest.scalar_subquery().label("fingerprint_id"),
        )
        query = query.outerjoin(WeightVersion, in_force()).where(Chip.id == chip_id)
        found = self._session.execute(query).one_or_none()
        return {} if found is None else found._asdict()

    def _emit(self, job: Job, type: str, key: str, data: Json, now: datetime) -> None:
        self._events.append(Subject(job.id, job.chip_id), type, key, data, now)
