"""Conditions on jobs: which attempt drives a job, and holds the lease of its chip."""

from sqlalchemy import ColumnElement, case, or_, select

from service.db.tables import ChipLease, Job
from service.states import ACTIVE, JobStatus


def unless_cancelling(status: JobStatus | ColumnElement[str]) -> ColumnElement[str]:
    """Return the status to set: a job that is being cancelled keeps its status."""
    return case((Job.status == JobStatus.CANCELLING, Job.status), else_=status)


def drives(token: int) -> tuple[ColumnElement[bool], ...]:
    """Conditions: the attempt with this token drives the job."""
    return (Job.token == token, Job.status.in_(ACTIVE), holds(token))


def holds(token: int) -> ColumnElement[bool]:
    """Condition: the job needs no chip, or holds the lease of its chip with this token."""
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
