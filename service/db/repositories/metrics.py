"""Queries for `/metrics`: the present state, and jobs that started or ended since an event."""

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
    """How many jobs of a kind have a status, and when the oldest of them was submitted."""

    kind: str
    status: str
    jobs: int
    oldest: datetime


class HeldLease(NamedTuple):
    """The lease of a chip that is being driven."""

    chip: str
    started_at: datetime | None
    expires_at: datetime


class JobEvent(NamedTuple):
    """The start or the end of a job."""

    type: str
    at: datetime
    job: Job


class MetricsRepository:
    """Reads what `/metrics` reports."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open_jobs(self) -> list[JobCount]:
        """Count the jobs that have not ended, by kind and status."""
        query = (
            select(Job.kind, Job.status, func.count(), func.min(Job.created_at))
            .where(Job.status.in_(OPEN))
            .group_by(Job.kind, Job.status)
        )
        return [JobCount(*row) for row in self._session.execute(query)]

    def ended_jobs(self) -> dict[tuple[str, str], int]:
        """Count the jobs that have ended, by kind and status. Reads every job: call it rarely."""
        query = (
            select(Job.kind, Job.status, func.count())
            .where(Job.status.in_(TERMINAL))
            .group_by(Job.kind, Job.status)
        )
        return {(kind, status): jobs for kind, status, jobs in self._session.execute(query)}

    def last_event(self) -> int:
        """Return the number of the last event, 0 before the first."""
        return self._session.scalar(select(func.max(Event.seq))) or 0

    def job_events(self, after: int, upto: int) -> list[JobEvent]:
        """Return starts and ends of jobs among the events above `after`, up to `upto`."""
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
        """Return all chips that are not retired."""
        return list(self._session.scalars(select(Chip).where(Chip.retired_at.is_(None))))

    def leases(self) -> list[HeldLease]:
        """Return the leases that are held."""
        query = (
            select(Chip.name, Job.started_at, ChipLease.expires_at)
            .join(Chip, Chip.id == ChipLease.chip_id)
            .outerjoin(Job, Job.id == ChipLease.job_id)
            .where(ChipLease.holder.is_not(None))
        )
        return [HeldLease(*row) for row in self._session.execute(query)]

    def agents(self) -> dict[str, datetime]:
        """Return the last heartbeat of each agent, by the name of its chip."""
        query = select(Chip.name, Agent.heartbeat_at).join(Chip, Chip.id == Agent.chip_id)
        return {row.name: row.heartbeat_at for row in self._session.execute(query)}

    def call_times(self) -> dict[tuple[str, str], float]:
        """Return the mean duration (s) of an agent's calls, by name of its chip and verb."""
        query = select(Chip.name, Agent.call_times).join(Chip, Chip.id == Agent.chip_id)
        return {
            (row.name, verb): seconds / calls
            for row in self._session.execute(query.where(Chip.retired_at.is_(None)))
            for verb, (calls, seconds) in (row.call_times or {}).items()
        }

    def executors(self) -> dict[str, datetime]:
        """Return the last heartbeat of each executor, by its id."""
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
