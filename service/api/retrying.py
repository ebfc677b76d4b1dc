"""Retrying of jobs, for the API and the pages: the request of a job that has ended, once more."""

from typing import NamedTuple

from service.api.context import Context, utc_now
from service.api.idempotency import IdempotentRequest, Once
from service.api.views import job_view
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.jobs import JobRepository
from service.schemas.jobs import JobView


class Retried(NamedTuple):
    """The new job, and whether an earlier request under the same key made it."""

    view: JobView
    earlier: bool


def retry(context: Context, actor: Actor, job_id: str, once: Once) -> Retried:
    """Queue the request of a job that has ended again, as a new job.

    The same Idempotency-Key for the same job returns the same new job. Raises JobNotFoundError,
    JobStateError while the job goes on, and what refuses the request today.
    """
    now = utc_now()
    with context.database.writing() as session:
        jobs = JobRepository(session)
        idempotent = IdempotentRequest(session, "POST retry", once, job_id)
        if made := idempotent.earlier_result():
            return Retried(job_view(session, jobs.get(made)), earlier=True)
        submitter = context.submitter(session, now, actor.key_id)
        job = submitter.again(jobs.get(job_id))
        idempotent.remember(job.id, now)
        AuditRepository(session).record(actor, "job.retried", job.id, now, earlier=job_id)
        return Retried(job_view(session, job), earlier=False)
