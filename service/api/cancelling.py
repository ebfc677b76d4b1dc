"""Cancelling of jobs, for the API and the pages: of one, or of all that wait for a chip."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from service.api.context import Context, utc_now
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest
from service.db.tables import Job
from service.states import WAITING, JobStatus

_CANCELLED = (JobStatus.CANCELLING, JobStatus.CANCELLED)


def cancel(context: Context, actor: Actor, job_id: str) -> None:
    """Cancel a job. A waiting job ends at once; a running one stops after its current step.

    A job that is cancelled already stays as it is, and leaves no second audit event. Raises
    JobNotFoundError, and JobStateError if the job has ended in another way.
    """
    now = utc_now()
    with context.database.writing() as session:
        jobs = JobRepository(session)
        job = jobs.lock(job_id)  # of two requests at the same time one cancels
        if job.status not in _CANCELLED:
            job = jobs.request_cancel(job_id, now)
            AuditRepository(session).record(actor, "job.cancelled", job_id, now)
        ended = ended_ids([job])
    forget(context, ended)


def cancel_waiting(session: Session, chip_id: str, now: datetime) -> list[Job]:
    """Cancel all jobs that wait for a chip, in the caller's transaction; return them."""
    jobs = JobRepository(session)
    wanted = JobFilter(tuple(WAITING), chip_id=chip_id)
    waiting = jobs.list(wanted, PageRequest(limit=1_000_000)).rows
    return [jobs.request_cancel(job.id, now) for job in waiting]


def ended_ids(jobs: Sequence[Job]) -> list[str]:
    """Return the ids of the cancelled jobs that have ended.

    One that has begun is still to be stopped by its worker, which restores the chip.
    """
    return [job.id for job in jobs if job.status == JobStatus.CANCELLED]


def forget(context: Context, job_ids: Sequence[str]) -> None:
    """Take cancelled jobs that have ended out of the engine's queue, after their transaction."""
    for job_id in job_ids:
        context.engine.cancel_queued(job_id)
