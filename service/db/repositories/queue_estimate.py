"""Estimated start of waiting jobs, from their place in the queue and past durations."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from service.db.repositories.agents import AgentRepository
from service.db.tables import Job
from service.states import ACTIVE, WAITING, JobStatus

_RECENT = 10  # how many past jobs of a chip the mean duration is taken over


class QueueEstimate(NamedTuple):
    """Place and estimated start of one job; the start is None if it cannot be estimated."""

    position: int | None = None  # 1 is next
    start: datetime | None = None


class QueueEstimateRepository:
    """Estimates places in the queue and starts of jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, jobs: Sequence[Job], now: datetime) -> dict[str, QueueEstimate]:
        """Return the estimate of each of these jobs that waits, by job id."""
        waiting = [job for job in jobs if job.status in WAITING]
        if not waiting:
            return {}
        positions = self._positions(waiting)
        chips = {job.chip_id for job in waiting if job.chip_id}
        offline = AgentRepository(self._session).offline(sorted(chips), now) if chips else set()
        paces = {chip: self._pace(chip) for chip in chips - offline}
        return {
            job.id: QueueEstimate(place, _start(job, place, paces.get(str(job.chip_id)), now))
            for job in waiting
            if (place := positions.get(job.id)) is not None
        }

    def _positions(self, jobs: Sequence[Job]) -> dict[str, int]:
        """Return places in the queue of each chip: dispatched jobs, then by priority and age."""
        lane = func.coalesce(Job.chip_id, "")
        order = (Job.called_at.is_(None), Job.priority, Job.id)
        place = func.row_number().over(partition_by=lane, order_by=order).label("place")
        chips = {job.chip_id for job in jobs if job.chip_id is not None}
        lanes: ColumnElement[bool] = Job.chip_id.in_(
            chips
        )  # by the index of chips, however long the queue is
        if any(job.chip_id is None for job in jobs):
            lanes = or_(lanes, Job.chip_id.is_(None))
        ranked = select(Job.id, place).where(Job.status.in_(WAITING), lanes).subquery()
        wanted = select(ranked).where(ranked.c.id.in_([job.id for job in jobs]))
        return {row.id: row.place for row in self._session.execute(wanted)}

    def _pace(self, chip_id: str) -> "_Pace":
        recent = self._session.execute(
            select(Job.started_at, Job.ended_at)
            .where(
                Job.chip_id == chip_id,
                Job.status == JobStatus.SUCCEEDED,
                Job.started_at.is_not(None),
            )
            .order_by(Job.id.desc())
            .limit(_RECENT)
        ).all()
        took = [ended - started for started, ended in recent if started and ended]
        running = self._session.scalars(
            select(Job.started_at).where(Job.chip_id == chip_id, Job.status.in_(ACTIVE))
        ).first()
        mean = sum(took, timedelta()) / len(took) if took else None
        return _Pace(mean, running)


class _Pace(NamedTuple):
    """Mean duration of a chip's jobs, and since when one runs."""

    mean: timedelta | None
    running_since: datetime | None


def _start(job: Job, place: int, pace: _Pace | None, now: datetime) -> datetime | None:
    """Estimate a start. None if nothing is known, and once the estimated start has passed."""
    if pace is None:
        return None
    ahead = place - 1 + (pace.running_since is not None)
    if ahead and pace.mean is None:
        return None
    start = pace.running_since or job.created_at
    start += ahead * (pace.mean or timedelta())
    if job.not_before is not None:
        start = max(start, job.not_before)
    return start if start > now else None
