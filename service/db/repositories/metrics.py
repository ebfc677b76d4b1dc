"""Queries for `/metrics`: the present state, and jobs that started or ended since an event."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.agent_tables import Agent
from service.db.base import Base
from service.db.executor_tables import Executor
from service.db.isolation import AnySelect, going_on, readable_rows
from service.db.repositories.policies import UNREADABLE
from service.db.tables import Chip, ChipLease, Event, Job
from service.db.upkeep_tables import Policy
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
    job: Job


class MetricsRepository:
    """Reads what `/metrics` reports."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.unreadable: set[tuple[str, str]] = set()  # table and id of what could not be read

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
        events = self._session.execute(
            select(Event.type, Event.job_id)
            .where(Event.seq > after, Event.seq <= upto, Event.type.in_(wanted))
            .order_by(Event.seq)
        ).all()
        jobs = self._jobs([str(event.job_id) for event in events])
        return [
            JobEvent(event.type, jobs[event.job_id]) for event in events if event.job_id in jobs
        ]

    def chips(self) -> list[Chip]:
        """Return all chips that are not retired."""
        rows = self._readable(select(Chip).where(Chip.retired_at.is_(None)), Chip.id)
        return [row.Chip for row in rows]

    def leases(self) -> list[HeldLease]:
        """Return the leases that are held."""
        query = (
            select(Chip.name, Job.started_at, ChipLease.expires_at)
            .join(Chip, Chip.id == ChipLease.chip_id)
            .outerjoin(Job, Job.id == ChipLease.job_id)
            .where(ChipLease.holder.is_not(None))
        )
        return [HeldLease(*row) for row in self._readable(query, ChipLease.chip_id)]

    def agents(self) -> dict[str, datetime]:
        """Return the last heartbeat of each agent, by the name of its chip."""
        query = select(Chip.name, Agent.heartbeat_at).join(Chip, Chip.id == Agent.chip_id)
        return {row.name: row.heartbeat_at for row in self._readable(query, Agent.id)}

    def call_times(self) -> dict[tuple[str, str], float]:
        """Return the mean duration (s) of an agent's calls, by name of its chip and verb."""
        query = select(Chip.name, Agent.id, Agent.call_times)
        query = query.join(Chip, Chip.id == Agent.chip_id).where(Chip.retired_at.is_(None))
        found: dict[tuple[str, str], float] = {}
        for row in self._readable(query, Agent.id):
            with self.apart(Agent, row.id):
                means = {verb: s / calls for verb, (calls, s) in (row.call_times or {}).items()}
                found |= {(row.name, verb): float(mean) for verb, mean in means.items()}
        return found

    def unreadable_policies(self) -> list[str]:
        """Return the chips whose policy the planner could not read."""
        return list(self._session.scalars(select(Policy.chip_id).where(Policy.note == UNREADABLE)))

    def executors(self) -> dict[str, datetime]:
        """Return the last heartbeat of each executor, by its id."""
        query = select(Executor.id, Executor.heartbeat_at)
        return {row.id: row.heartbeat_at for row in self._readable(query, Executor.id)}

    def _jobs(self, ids: Sequence[str]) -> dict[str | None, Job]:
        found: dict[str | None, Job] = {}
        for start in range(0, len(ids), _BATCH):
            part = ids[start : start + _BATCH]
            rows = self._readable(select(Job).where(Job.id.in_(part)), Job.id)
            found |= {row.Job.id: row.Job for row in rows}
        return found

    @contextmanager
    def apart(self, table: type[Base], id: str) -> Iterator[None]:
        """Note a row as unreadable if the block cannot use what it holds. Raises nothing for it.

        Raises OperationalError and InterfaceError if the database is away.
        """
        with going_on() as outcome:
            yield
        if outcome.failed:
            self.unreadable.add((table.__tablename__, id))

    def _readable(self, query: AnySelect, key: InstrumentedAttribute[str]) -> list[Any]:
        """Return the rows that can be read, and note the others as unreadable."""
        found = readable_rows(self._session, query, key)
        self.unreadable.update((key.class_.__tablename__, name) for name in found.unreadable)
        return found.rows
