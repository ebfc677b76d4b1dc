"""Cancelling of many jobs at once: those of a chip, a status or a kind."""

from datetime import datetime

from fastapi import status
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from service.api.auth import OPERATE, ActorDep
from service.api.cancelling import ended_ids, forget
from service.api.context import ContextDep, utc_now
from service.api.idempotency import IdempotentRequest, OnceAtMostDep
from service.api.names import with_ids
from service.api.threads import ServiceRouter
from service.db.repositories.audit import Actor, AuditFilter, AuditRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest
from service.db.tables import Job
from service.errors import JobStateError
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.jobs import CancelledView, CancelRequest
from service.states import JobStatus, OpenStatus

router = ServiceRouter()
_BATCH = "jobs.cancelled"  # the audit event of a whole request, which names its jobs


@router.post("/cancel", status_code=status.HTTP_202_ACCEPTED, dependencies=[OPERATE])
def cancel_many_jobs(
    body: CancelRequest, context: ContextDep, actor: ActorDep, once: OnceAtMostDep
) -> CancelledView:
    """Cancel open jobs of a chip, a status or a kind, the oldest first.

    The same Idempotency-Key with the same body cancels nothing more and returns the same jobs.
    """
    now = utc_now()
    if body.kind is not None and body.kind not in context.kinds:
        raise InvalidFieldsError(FieldProblem("/kind", "there is no such kind of job"))
    with context.database.writing() as session:
        idempotent = IdempotentRequest(session, "POST /v1/jobs/cancel", once, body)
        if made := idempotent.earlier_result():
            return _earlier(session, made)
        named = with_ids(session, body)
        if named.chip_id is not None:
            ChipRepository(session).get(named.chip_id)
        jobs, more = _cancel(session, named, now)
        view = CancelledView(cancelled=len(jobs), job_ids=[job.id for job in jobs], more=more)
        batch = str(uuid7())
        _record(AuditRepository(session), actor, batch, view, now)
        idempotent.remember(batch, now)
        ended = ended_ids(jobs)
    forget(context, ended)
    return view


def _cancel(session: Session, body: CancelRequest, now: datetime) -> tuple[list[Job], bool]:
    """Cancel the jobs that are asked for; return them, and whether there are more."""
    jobs = JobRepository(session)
    wanted = JobFilter(tuple(map(JobStatus, body.status or OpenStatus)), body.kind, body.chip_id)
    found = jobs.list(wanted, PageRequest(body.limit, oldest_first=True))
    cancelled = []
    for job in found.rows:
        try:
            cancelled.append(jobs.request_cancel(job.id, now))
        except JobStateError:  # it has ended meanwhile
            continue
    return cancelled, found.more


def _record(
    trail: AuditRepository, actor: Actor, batch: str, view: CancelledView, now: datetime
) -> None:
    """Add an event of the request, and one of each job, which a reader looks up by the job."""
    trail.record(actor, _BATCH, batch, now, **view.model_dump())
    for job_id in view.job_ids:
        trail.record(actor, "job.cancelled", job_id, now, batch=batch)


def _earlier(session: Session, batch: str) -> CancelledView:
    """Return what an earlier request cancelled, as its audit event says."""
    wanted = AuditFilter(action=_BATCH, subject=batch)
    (event,) = AuditRepository(session).list(wanted, PageRequest(1)).rows
    return CancelledView.model_validate(event.data)
