"""Queue deadlines: jobs that have not started by then expire."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, TextClause, select, text, update
from sqlalchemy.orm import Session

from service.db.isolation import isolated
from service.db.repositories.jobs import JobRepository
from service.db.tables import DEADLINE, Job
from service.states import JobStatus

_UNREADABLE = "deadlines: a job that expired cannot be read, its end is in its row alone"
_ENDED = {
    "status": JobStatus.EXPIRED,
    "reason": "it did not start before its queue_deadline",
}


class DeadlineRepository:
    """Ends late jobs in the session's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def any_late(self, now: datetime) -> bool:
        """Return whether a job that has not started has missed its deadline."""
        return self._session.scalar(select(Job.id).where(*_late(now)).limit(1)) is not None

    def expire(self, now: datetime) -> Sequence[Job]:
        """End the jobs that have missed their deadline, and return them."""
        late = select(Job.id).where(*_late(now)).with_for_update(skip_locked=True)
        change = update(Job).where(Job.id.in_(late)).values(**_ENDED, ended_at=now)
        expired = self._session.scalars(change.returning(Job.id)).all()
        ended = (self._emit_end(job_id, now) for job_id in sorted(expired))
        return [job for job in ended if job is not None]

    def _emit_end(self, job_id: str, now: datetime) -> Job | None:
        """Emit the end of one job; None for a row that cannot be read, which has ended too."""
        jobs = JobRepository(self._session)
        with isolated(self._session, _UNREADABLE, job_id=job_id):
            job = jobs.get(job_id)
            jobs.emit_end(job, now)
            return job
        return None


def _late(now: datetime) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Select jobs that have not started and should have."""
    return (text(DEADLINE), Job.started_at.is_(None), Job.queue_deadline < now)
