"""Dispatches: which of the jobs that wait are handed to the engine, and in what order.

The engine's own queue is kept short, because what stands in it can no longer be overtaken. The next
job is, of those that could start now,

1. one of the highest priority,
2. of the key that has the fewest jobs dispatched, then of the one that was served longest ago,
3. of the chip that was driven longest ago,
4. the oldest.

At most one job of a chip is dispatched at a time. In the tables a dispatch is a `turn` of the job,
and a dispatched job has a `called_at`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from service.db.executor_tables import KeyTurn
from service.db.repositories.agents import silent_chips
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.upsert import put
from service.db.tables import CALLED, HELD, Chip, ChipLease, Job
from service.states import WAITING, JobStatus

_AHEAD = 2  # jobs dispatched for each slot, so that a slot that becomes free is filled at once
_AT_LEAST = 4  # of the slots: room for a quarter of them, before the queue is put in order
_LEAST = 2  # jobs dispatched where no executor lives: the first one to come finds work
_DISPATCHABLE = (*WAITING, JobStatus.CANCELLING)  # one that was stopped has to put its chip back
_NOBODY = ""  # whose jobs the service's own are


class Dispatch(NamedTuple):
    """One handing over of a job to the engine; a later one of the same job makes it void."""

    job_id: str
    number: int
    priority: int

    @property
    def name(self) -> str:
        """The name under which the engine knows it."""
        return dispatch_name(self.job_id, self.number)


def dispatch_name(job_id: str, number: int) -> str:
    """Return the name under which the engine knows one dispatch of a job."""
    return f"{job_id}.{number}"


class DispatchRepository:
    """Dispatches jobs in the session's transaction."""

    def __init__(self, session: Session, silence: timedelta) -> None:
        """`silence` is how long a living executor may be quiet."""
        self._session = session
        self._silence = silence

    def dispatch_next(self, now: datetime) -> list[Dispatch]:
        """Dispatch as many jobs as there is room for, and return the dispatches."""
        dispatched = (self._dispatch(job_id, now) for job_id in self.next_in_order(now))
        return [dispatch for dispatch in dispatched if dispatch is not None]

    def next_in_order(self, now: datetime) -> Sequence[str]:
        """Return the next jobs, as many as there is room for; change nothing.

        To put a long queue in order takes a while, so it waits until there is room for several.
        """
        slots = self._slots(now)
        room = self._room(slots)
        if room < max(1, slots // _AT_LEAST):
            return []
        return self._session.scalars(_in_order(now).limit(room)).all()

    def dispatch_new(self, jobs: Sequence[Job], now: datetime) -> Dispatch | None:
        """Dispatch the one of some jobs, just added, that waits alone.

        Where several wait, they are put in order when the queue is looked after.
        """
        may_start = [job.id for job in jobs if (job.not_before or now) <= now]
        if not may_start or self._room(self._slots(now)) <= 0:
            return None
        ready = self._first_ready(2, now)
        if len(ready) != 1 or ready[0] not in may_start:
            return None
        return self._dispatch(ready[0], now)

    def dispatched_before(self, then: datetime) -> list[Dispatch]:
        """Return the dispatches before then of jobs that have not ended."""
        query = select(Job.id, Job.turn, Job.priority)
        query = query.where(text(CALLED), Job.called_at < then)
        return [Dispatch(*row) for row in self._session.execute(query)]

    def any_waiting(self, now: datetime) -> bool:
        """Return whether there is a job that could be dispatched."""
        return self._first_ready(1, now) != []

    def _first_ready(self, count: int, now: datetime) -> Sequence[str]:
        """Return any jobs that could be dispatched; chip by chip is asked whether it is silent."""
        silent = silent_chips(now).where(Chip.id == Job.chip_id).correlate(Job)
        query = select(Job.id).where(*_ready(now), ~silent.exists())
        return self._session.scalars(query.limit(count)).all()

    def _slots(self, now: datetime) -> int:
        return ExecutorRepository(self._session).slots(self._silence, now)

    def _room(self, slots: int) -> int:
        query = select(func.count()).select_from(Job)
        dispatched = self._session.scalar(query.where(text(CALLED)))
        return max(_LEAST, _AHEAD * slots) - (dispatched or 0)

    def _dispatch(self, job_id: str, now: datetime) -> Dispatch | None:
        """Dispatch one job; None where somebody else has just dispatched it."""
        row = self._session.execute(
            update(Job)
            .where(Job.id == job_id, Job.called_at.is_(None), Job.status.in_(_DISPATCHABLE))
            .values(turn=Job.turn + 1, called_at=now, held_until=None)
            .returning(Job.turn, Job.priority, Job.key_id)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if row is None:
            return None
        put(self._session, KeyTurn, {"key_id": row.key_id or _NOBODY, "called_at": now})
        return Dispatch(job_id, row.turn, row.priority)


def requeue(session: Session, job_id: str, number: int, held_until: datetime | None = None) -> None:
    """End a dispatch without a result: the job waits for its next one, at least `held_until`."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.turn == number, Job.called_at.is_not(None))
        .values(called_at=None, held_until=held_until)
    )


def _ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Select jobs that wait, and that nothing but the order or a silent agent holds up."""
    return (
        Job.status.in_(_DISPATCHABLE),
        Job.called_at.is_(None),
        or_(Job.not_before.is_(None), Job.not_before <= now),
        or_(Job.held_until.is_(None), Job.held_until <= now),
        or_(Job.chip_id.is_(None), Job.chip_id.not_in(_taken_chips(now))),
    )


def _taken_chips(now: datetime) -> CompoundSelect[Any]:
    """Select chips that are driven, or for which a job is dispatched already."""
    called = select(Job.chip_id).where(text(CALLED), Job.chip_id.is_not(None))
    leased = select(ChipLease.chip_id).where(text(HELD), ChipLease.expires_at >= now)
    return called.union(leased)


def _in_order(now: datetime) -> Select[Any]:
    """Select the jobs that could be dispatched, one a chip, the next one first."""
    head = _heads(now)
    nth = func.row_number().over(
        partition_by=head.c.key, order_by=(head.c.priority, head.c.idle_since, *_age(head.c))
    )
    share = head.c.load + nth  # as if those of its key before it had been dispatched
    served = head.c.served_at.nulls_first()
    return select(head.c.id).order_by(head.c.priority, share, served, head.c.idle_since, head.c.id)


def _heads(now: datetime) -> Subquery:
    """Select the next job of each chip. A job without a chip stands in no other's way."""
    key, loads = func.coalesce(Job.key_id, _NOBODY), _loads()
    load = func.coalesce(loads.c.load, 0)
    place = func.row_number().over(
        partition_by=func.coalesce(Job.chip_id, Job.id),
        order_by=(Job.priority, load, KeyTurn.called_at.nulls_first(), *_age(Job)),
    )
    idle_since = func.coalesce(ChipLease.expires_at, Job.created_at)
    queue = (
        select(
            Job.id,
            Job.created_at,
            Job.priority,
            key.label("key"),
            load.label("load"),
            KeyTurn.called_at.label("served_at"),
            idle_since.label("idle_since"),
            place.label("place"),
        )
        .outerjoin(loads, loads.c.key == key)
        .outerjoin(KeyTurn, KeyTurn.key_id == key)
        .outerjoin(ChipLease, ChipLease.chip_id == Job.chip_id)
        .where(*_ready(now), or_(Job.chip_id.is_(None), Job.chip_id.not_in(silent_chips(now))))
        .subquery()
    )
    return select(queue).where(queue.c.place == 1).subquery()


def _age(job: Any) -> tuple[Any, Any]:
    """Order by age. Ids are in the order of time too, but a database compares times faster."""
    return job.created_at, job.id


def _loads() -> Subquery:
    """Count the jobs of each key that are dispatched and have not ended."""
    key = func.coalesce(Job.key_id, _NOBODY)
    return (
        select(key.label("key"), func.count().label("load"))
        .where(text(CALLED))
        .group_by(key)
        .subquery()
    )
