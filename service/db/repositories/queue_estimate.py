"""What holds waiting jobs up now, and when they start: by place in the queue and past durations."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Float,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.agent_tables import Agent
from service.db.base import UtcDateTime
from service.db.portable import seconds_between, without_index
from service.db.repositories.agents import NO_AGENT, last_heard_of, silent_chips
from service.db.tables import Chip, Job
from service.states import ACTIVE, WAITING, JobStatus
from service.wait_reasons import Situation, current_reason

_RECENT = 10  # how many past jobs of a chip the mean duration is taken over
_PAST, _RUNNING, _SILENT = "past", "running", "silent"  # what a row of `_CHIPS` tells of its chip


class QueueEstimate(NamedTuple):
    """Place and estimated start of one job; the start is None if it cannot be estimated."""

    position: int | None = None  # 1 is next
    start: datetime | None = None
    reason: str | None = None  # why it waits now; None where nothing but its place is known


class QueuedJob(Protocol):
    """What is read of a job: its row in the table, or some of its columns."""

    @property
    def id(self) -> str:
        """Id of the job."""
        ...

    @property
    def status(self) -> str:
        """Its status: one that does not wait has no estimate."""
        ...

    @property
    def chip_id(self) -> str | None:
        """Id of the chip that it waits for; None where it needs none."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was submitted."""
        ...

    @property
    def not_before(self) -> datetime | None:
        """When it may start."""
        ...

    @property
    def reason(self) -> str | None:
        """Why it waited when that was stored."""
        ...

    @property
    def held_until(self) -> datetime | None:
        """When it may be dispatched again."""
        ...

    @property
    def called_at(self) -> datetime | None:
        """When it was dispatched."""
        ...


class QueueEstimateRepository:
    """Estimates places in the queue and starts of jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, jobs: Sequence[QueuedJob], now: datetime) -> dict[str, QueueEstimate]:
        """Return the estimate of each of these jobs that waits, by job id.

        Two queries tell of all of them.
        """
        waiting = [job for job in jobs if job.status in WAITING]
        if not waiting:
            return {}
        positions = self._positions(waiting)
        paces = self._paces(_CHIPS, waiting, now)
        free = _Pace()
        return {
            job.id: _estimate(job, place, paces.get(str(job.chip_id), free), now)
            for job in waiting
            if (place := positions.get(job.id)) is not None
        }

    def reasons(self, jobs: Sequence[QueuedJob], now: datetime) -> dict[str, str | None]:
        """Return why each of these jobs that waits does so now, by job id, with one query."""
        waiting = [job for job in jobs if job.status in WAITING]
        paces, free = self._paces(_STATES, waiting, now), _Pace()
        return {job.id: _reason(job, paces.get(str(job.chip_id), free), now) for job in waiting}

    def _positions(self, jobs: Sequence[QueuedJob]) -> dict[str, int]:
        """Return places in the queue of each chip: dispatched jobs, then by priority and age."""
        query = _PLACES_AND_OTHERS if any(job.chip_id is None for job in jobs) else _PLACES
        chips = sorted({job.chip_id for job in jobs if job.chip_id is not None})
        asked = {"chips": chips, "jobs": [job.id for job in jobs]}
        return {row.id: row.place for row in self._session.execute(query, asked)}

    def _paces(
        self, query: CompoundSelect[Any], jobs: Sequence[QueuedJob], now: datetime
    ) -> dict[str, "_Pace"]:
        """Return what the query tells of the chip of each of these jobs."""
        chip_ids = sorted({job.chip_id for job in jobs if job.chip_id})
        if not chip_ids:
            return {}
        means = dict[str, timedelta]()
        running, silent = dict[str, datetime | None](), dict[str, str]()
        for row in self._session.execute(query, {"chips": chip_ids, "now": now}):
            if row.told == _SILENT:
                silent[row.chip_id] = last_heard_of(row.url, row.since) if row.url else NO_AGENT
            elif row.told == _RUNNING:
                running[row.chip_id] = row.since
            elif row.mean_s is not None:
                means[row.chip_id] = timedelta(seconds=row.mean_s)
        return {
            chip: _Pace(means.get(chip), running.get(chip), chip in running, silent.get(chip))
            for chip in chip_ids
        }


class _Pace(NamedTuple):
    """Mean duration of a chip's jobs, since when one runs, and why the chip is offline."""

    mean: timedelta | None = None
    running_since: datetime | None = None
    driven: bool = False
    silent: str | None = None


def _estimate(job: QueuedJob, place: int, pace: _Pace, now: datetime) -> QueueEstimate:
    start = _start(job, place, pace, now) if job.chip_id and pace.silent is None else None
    return QueueEstimate(place, start, _reason(job, pace, now))


def _reason(job: QueuedJob, pace: _Pace, now: datetime) -> str | None:
    found = Situation(pace.silent, pace.driven, job.held_until, job.called_at)
    return current_reason(job.reason, found, now)


def _start(job: QueuedJob, place: int, pace: _Pace, now: datetime) -> datetime | None:
    """Estimate a start. None if nothing is known, and once the estimated start has passed."""
    ahead = place - 1 + (pace.running_since is not None)
    if ahead and pace.mean is None:
        return None
    start = pace.running_since or job.created_at
    start += ahead * (pace.mean or timedelta())
    if job.not_before is not None:
        start = max(start, job.not_before)
    return start if start > now else None


# The queries are made once: to make them takes longer than to send them.
_NO_TIME = cast(null(), UtcDateTime()).label("since")
_NO_MEAN, _NO_URL = cast(null(), Float()), cast(null(), String())
_CHIP_IDS: BindParameter[Any] = bindparam("chips", expanding=True)


def _places(lanes: ColumnElement[bool]) -> Select[Any]:
    """Select the places of some jobs, by the index of chips, however long the queue is."""
    lane = func.coalesce(Job.chip_id, "")
    order = (Job.called_at.is_(None), Job.priority, Job.id)
    place = func.row_number().over(partition_by=lane, order_by=order).label("place")
    ranked = select(Job.id, place).where(Job.status.in_(WAITING), lanes).subquery()
    return select(ranked).where(ranked.c.id.in_(bindparam("jobs", expanding=True)))


def _chips() -> CompoundSelect[Any]:
    """Select what is known of some chips: the mean duration of their last jobs, and their states.

    The last jobs are found by the index of chips, however many have ended before them.
    """
    took = seconds_between(Job.started_at, Job.ended_at).label("took")
    succeeded = (without_index(Job.status) == JobStatus.SUCCEEDED, Job.started_at.is_not(None))
    newest = select(took).where(Job.chip_id == Chip.id, *succeeded).order_by(Job.id.desc())
    recent = newest.limit(_RECENT).correlate(Chip).subquery()
    mean = select(func.avg(recent.c.took, type_=Float())).correlate(Chip).scalar_subquery()
    past = select(Chip.id.label("chip_id"), _NO_TIME, *_told(_PAST, mean))
    return union_all(past.where(Chip.id.in_(_CHIP_IDS)), *_states())


def _states() -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Select of some chips the job that runs, and an agent that is silent."""
    running = select(Job.chip_id, Job.started_at.label("since"), *_told(_RUNNING))
    silent = silent_chips(bindparam("now", type_=UtcDateTime())).where(Chip.id.in_(_CHIP_IDS))
    heard = (Chip.id, Agent.heartbeat_at, *_told(_SILENT, url=Agent.url))
    return (
        running.where(Job.chip_id.in_(_CHIP_IDS), Job.status.in_(ACTIVE)),
        silent.with_only_columns(*heard),
    )


def _told(
    what: str,
    mean: ColumnElement[Any] = _NO_MEAN,
    url: ColumnElement[Any] | InstrumentedAttribute[Any] = _NO_URL,
) -> tuple[ColumnElement[Any], ...]:
    return literal(what).label("told"), mean.label("mean_s"), url.label("url")


_PLACES = _places(Job.chip_id.in_(_CHIP_IDS))
_PLACES_AND_OTHERS = _places(or_(Job.chip_id.in_(_CHIP_IDS), Job.chip_id.is_(None)))
_CHIPS = _chips()
_STATES = union_all(*_states())
