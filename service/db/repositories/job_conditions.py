"""Conditions on jobs: which are wanted, and which attempt drives one and holds its chip's lease."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, or_, select

from service.db.tables import ChipLease, Job
from service.states import ACTIVE, JobStatus


class JobFilter(NamedTuple):
    """Which jobs to list; empty or None means any."""

    status: Sequence[JobStatus] = ()
    kind: str | None = None
    chip_id: str | None = None
    since: datetime | None = None  # when it was created
    until: datetime | None = None  # before this time

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what each job of the list fulfils."""
        found: list[ColumnElement[bool]] = []
        if self.status:
            found.append(Job.status.in_(self.status))
        if self.kind is not None:
            found.append(Job.kind == self.kind)
        if self.chip_id is not None:
            found.append(Job.chip_id == self.chip_id)
        if self.since is not None:
            found.append(Job.created_at >= self.since)
        if self.until is not None:
            found.append(Job.created_at < self.until)
        return found


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
