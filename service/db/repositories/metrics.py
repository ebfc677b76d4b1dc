"""What `/metrics` counts: the state of now by indices, and what happened since last time."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.agent_tables import Agent
from service.db.tables import Chip, ChipLease, Event, Executor, Job
from service.states import OPEN, TERMINAL

_BATCH = 500  # ids in one query


class JobCount(NamedTuple):
    """How many jobs of a kind have a status, and since when the oldest of them has waited."""

    kind: str
    status: str
    jobs: int
    oldest: datetime


class HeldLease(NamedTuple):
    """A chip that somebody drives."""

    chip: str
    started_at: datetime | None
    expires_at: datetime


class JobEvent(NamedTuple):
    """A job that started or ended, with the row of the job."""

    type: str
    at: datetime
    job: Job


class MetricsRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def open_jobs(self) -> list[JobCount]:
        """Jobs that have not ended."""
        query = (
            select(Job.kind, Job.status, func.count(), func.min(Job.created_at))
            .where(Job.status.in_(OPEN))
            .group_by(Job.kind, Job.status)
        )
        return [JobCount(*row) for row in self._session.execute(query)]

    def ended_jobs(self) -> dict[tuple[str, str], int]:
        """How many ended so far, by kind and status: reads them all, once a process."""
        query = (
            select(Job.kind, Job.status, func.count())
            .where(Job.status.in_(TERMINAL))
            .group_by(Job.kind, Job.status)
        )
        return {(kind, status): jobs for kind, status, jobs in self._session.execute(query)}

    def last_event(self) -> int:
        return self._session.scalar(select(func.max(Event.seq))) or 0

    def happened(self, after: int, upto: int) -> list[JobEvent]:
        """Starts and ends of jobs among the events of these numbers."""
        wanted = ("job.started", "job.ended")
        events = self._session.scalars(
            select(Event)
            .where(Event.seq > after, Event.seq <= upto, Event.type.in_(wanted))
            .order_by(Event.seq)
        ).all()
        jobs = self._jobs([str(event.job_id) for event in events])
        return [
            JobEvent(event.type, event.created_at, jobs[event.job_id])
            for event in events
            if event.job_id in jobs
        ]

    def chips(self) -> list[Chip]:
        """All that are not retired."""
        return list(self._session.scalars(select(Chip).where(Chip.retired_at.is_(None))))

    def leases(self) -> list[HeldLease]:
        """Those that are held."""
        query = (
            select(Chip.name, Job.started_at, ChipLease.expires_at)
            .join(Chip, Chip.id == ChipLease.chip_id)
            .outerjoin(Job, Job.id == ChipLease.job_id)
            .where(ChipLease.holder.is_not(None))
        )
        return [HeldLease(*row) for row in self._session.execute(query)]

    def agents(self) -> dict[str, datetime]:
        """By the name of its chip, when each was last heard of."""
        query = select(Chip.name, Agent.heartbeat_at).join(Chip, Chip.id == Agent.chip_id)
        return {row.name: row.heartbeat_at for row in self._session.execute(query)}

    def call_times(self) -> dict[tuple[str, str], float]:
        """By the name of the chip and the verb, what a call of its agent took, s."""
        query = select(Chip.name, Agent.call_times).join(Chip, Chip.id == Agent.chip_id)
        return {
            (row.name, verb): seconds / calls
            for row in self._session.execute(query.where(Chip.retired_at.is_(None)))
            for verb, (calls, seconds) in (row.call_times or {}).items()
        }

    def executors(self) -> dict[str, datetime]:
        """When each was last heard of."""
        query = select(Executor.id, Executor.heartbeat_at)
        return {row.id: row.heartbeat_at for row in self._session.execute(query)}

    def _jobs(self, ids: Sequence[str]) -> dict[str | None, Job]:
        found: dict[str | None, Job] = {}
        for start in range(0, len(ids), _BATCH):
            part = ids[start : start + _BATCH]
            found |= {
                job.id: job for job in self._session.scalars(select(Job).where(Job.id.in_(part)))
            }
        return found
