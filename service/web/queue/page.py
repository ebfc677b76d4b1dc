"""Data of the queue page: jobs that run and that wait, workers, and what is planned."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.executor_tables import Executor
from service.db.isolation import going_on
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.keys import KeyRepository
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.paging import PageRequest, RowPage
from service.db.repositories.upcoming import DueChip, UpcomingRepository
from service.db.tables import Job
from service.db.upkeep_tables import Policy
from service.formatting import DASH, plural
from service.jobs.kinds.registry import JobKinds
from service.states import ACTIVE, WAITING
from service.web.job.rows import JobRow, job_rows
from service.web.job.waiting import Wait, waits

_WAITING_SHOWN, _RUNNING_SHOWN, _WORKERS_SHOWN, PLANNED_SHOWN = 50, 100, 100, 25
_STEP = 5  # s, to which the age of a heartbeat is rounded: the page changes no more often
_PLANS = (
    ("calibrate_due_at", "calibrate"),
    ("probe_due_at", "probe"),
    ("expiry_due_at", "probe or calibrate, before the weights lose their validity"),
)


class QueueQuery(NamedTuple):
    """Which part of the two long lists to show, from the query of the address."""

    waiting: str | None = None  # cursor
    planned: int = 1  # page


class QueuedJob(NamedTuple):
    """A job that runs or waits."""

    job: JobRow
    by: str  # the key that submitted it
    worker: str  # that runs it
    started_at: datetime | None
    priority: int | None
    wait: Wait | None


class Worker(NamedTuple):
    """A process that runs jobs."""

    name: str
    alive: bool
    heartbeat_at: datetime | None
    heard: str
    slots: int
    running: int


class Plan(NamedTuple):
    """What the planner does next with a chip."""

    chip_id: str
    chip: str
    what: str
    due_at: datetime | None
    note: str | None  # why the last job was not planned


class Queue(NamedTuple):
    """All data of the queue page."""

    headline: str
    running: tuple[QueuedJob, ...]
    waiting: tuple[QueuedJob, ...]
    next_waiting: str | None  # cursor
    workers: tuple[Worker, ...]
    plans: tuple[Plan, ...]
    planned: int  # chips that are due at some time
    next_planned: int | None  # page


def read_queue(
    session: Session, query: QueueQuery, kinds: JobKinds, silence: timedelta, now: datetime
) -> Queue:
    """Read the data of the queue page. Raises ForeignCursorError."""
    workers = _workers(session, silence, now)
    jobs, running = JobRepository(session), PageRequest(_RUNNING_SHOWN, oldest_first=True)
    active = jobs.list(JobFilter(status=tuple(ACTIVE)), running)
    page = PageRequest(_WAITING_SHOWN, query.waiting, oldest_first=True)
    waiting = jobs.list(JobFilter(status=tuple(WAITING)), page)
    upcoming = UpcomingRepository(session)
    planned, skip = upcoming.count(), PLANNED_SHOWN * (query.planned - 1)
    return Queue(
        headline=_headline(OverviewRepository(session).open_jobs(), workers),
        running=_queued(session, active, kinds, {}, now),
        waiting=_queued(session, waiting, kinds, waits(session, waiting.rows, silence, now), now),
        next_waiting=waiting.next_cursor,
        workers=workers,
        plans=tuple(map(_plan, upcoming.next_due(PLANNED_SHOWN, skip))),
        planned=planned,
        next_planned=query.planned + 1 if skip + PLANNED_SHOWN < planned else None,
    )


def _queued(
    session: Session,
    found: RowPage[Job],
    kinds: JobKinds,
    waiting: Mapping[str, Wait],
    now: datetime,
) -> tuple[QueuedJob, ...]:
    """Build the rows of one list, the oldest first, also of jobs that cannot be read."""
    by_id = {job.id: job for job in found.rows}
    keys = KeyRepository(session).names({job.key_id for job in found.rows if job.key_id})
    rows = []
    for row in reversed(job_rows(session, found, kinds, now)):
        job = by_id.get(row.id)
        if job is None:
            rows.append(QueuedJob(row, DASH, DASH, None, None, None))
            continue
        rows.append(
            QueuedJob(
                job=row,
                by=keys.get(job.key_id, DASH) if job.key_id else "the planner",
                worker=job.executor_id or DASH,
                started_at=job.started_at,
                priority=job.priority,
                wait=waiting.get(job.id),
            )
        )
    return tuple(rows)


def _workers(session: Session, silence: timedelta, now: datetime) -> tuple[Worker, ...]:
    executors = ExecutorRepository(session)
    found, load = executors.list(_WORKERS_SHOWN), executors.load()
    rows = [_worker(row, load.get(row.id, 0), silence, now) for row in found.rows]
    rows += [Worker(name, False, None, DASH, 0, load.get(name, 0)) for name in found.unreadable]
    return tuple(rows)


def _worker(row: Executor, running: int, silence: timedelta, now: datetime) -> Worker:
    age = max(0.0, (now - row.heartbeat_at).total_seconds())
    return Worker(
        name=row.id,
        alive=row.heartbeat_at >= now - silence,
        heartbeat_at=row.heartbeat_at,
        heard="now" if age < _STEP else f"{int(age // _STEP) * _STEP} s ago",
        slots=row.slots,
        running=running,
    )


def _plan(due: DueChip) -> Plan:
    if due.policy is not None:
        with going_on():
            return Plan(
                due.chip_id, due.chip, _what(due.policy), due.policy.due_at, due.policy.note
            )
    return Plan(due.chip_id, due.chip, DASH, None, "its policy cannot be read; set it again")


def _what(policy: Policy) -> str:
    """Say what is due first; a calibration at the same time takes the place of a probe."""
    times = [(at, what) for name, what in _PLANS if (at := getattr(policy, name)) is not None]
    return min(times, key=lambda plan: plan[0])[1] if times else DASH


def _headline(jobs: Mapping[str, int], workers: Sequence[Worker]) -> str:
    waiting = sum(jobs.get(status, 0) for status in WAITING)
    running = sum(jobs.get(status, 0) for status in ACTIVE)
    alive = [worker for worker in workers if worker.alive]
    places = sum(worker.slots for worker in alive)
    if not alive:
        return f"{plural(waiting, 'job')} waiting, {running} running. No worker is alive."
    return (
        f"{plural(waiting, 'job')} waiting, {running} running. "
        f"{plural(len(alive), 'worker')} with {plural(places, 'place')}."
    )
