"""Whose turn it is: which of the jobs that wait are handed to the engine, and in what order.

The engine's own queue is kept short, because what stands in it can no longer be overtaken. The next
job is, of those that could start now,

1. one of the highest priority,
2. of the key that has the fewest jobs called, then of the one that was served longest ago,
3. of the chip that was driven longest ago,
4. the oldest.

At most one job of a chip is called at a time.
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

from service.db.repositories.agents import silent_chips
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.upsert import put
from service.db.tables import CALLED, HELD, Chip, ChipLease, Job, KeyTurn
from service.states import WAITING, JobStatus

_AHEAD = 2  # jobs called for each slot, so that a slot that becomes free is filled at once
_AT_LEAST = 4  # of the slots: room for a quarter of them, before the queue is put in order
_LEAST = 2  # jobs called where no executor lives: the first one to come finds work
_CALLABLE = (*WAITING, JobStatus.CANCELLING)  # one that was stopped has to put its chip back
_NOBODY = ""  # whose jobs the service's own are


class Turn(NamedTuple):
    """One handing over of a job; a later one makes it void."""

    job_id: str
    number: int
    priority: int

    @property
    def name(self) -> str:
        """Under which the engine knows it."""
        return turn_name(self.job_id, self.number)


def turn_name(job_id: str, number: int) -> str:
    """Of one turn of a job."""
    return f"{job_id}.{number}"


class TurnRepository:
    def __init__(self, session: Session, silence: timedelta) -> None:
        self._session = session
        self._silence = silence  # s after which an executor is taken for dead

    def call_next(self, now: datetime) -> list[Turn]:
        """Call as many as there is room for."""
        called = (self._call(job_id, now) for job_id in self.next_in_order(now))
        return [turn for turn in called if turn is not None]

    def next_in_order(self, now: datetime) -> Sequence[str]:
        """As many jobs as there is room for; nothing is changed.

        To put a long queue in order takes a while, so it waits until there is room for several.
        """
        slots = self._slots(now)
        room = self._room(slots)
        if room < max(1, slots // _AT_LEAST):
            return []
        return self._session.scalars(_in_order(now).limit(room)).all()

    def call_new(self, job: Job, now: datetime) -> Turn | None:
        """Call a job that was just added, unless it has to wait behind another one."""
        if self._room(self._slots(now)) <= 0:
            return None
        return self._call(job.id, now) if self._first_ready(2, now) == [job.id] else None

    def called_before(self, then: datetime) -> list[Turn]:
        """Turns of jobs that have not ended, and were called before that."""
        query = select(Job.id, Job.turn, Job.priority)
        query = query.where(text(CALLED), Job.called_at < then)
        return [Turn(*row) for row in self._session.execute(query)]

    def any_waiting(self, now: datetime) -> bool:
        """Is there a job that could be called?"""
        return self._first_ready(1, now) != []

    def _first_ready(self, count: int, now: datetime) -> Sequence[str]:
        """Any of them: chip by chip is asked whether it can be driven."""
        silent = silent_chips(now).where(Chip.id == Job.chip_id).correlate(Job)
        query = select(Job.id).where(*_ready(now), ~silent.exists())
        return self._session.scalars(query.limit(count)).all()

    def _slots(self, now: datetime) -> int:
        return ExecutorRepository(self._session).slots(self._silence, now)

    def _room(self, slots: int) -> int:
        query = select(func.count()).select_from(Job)
        called = self._session.scalar(query.where(text(CALLED)))
        return max(_LEAST, _AHEAD * slots) - (called or 0)

    def _call(self, job_id: str, now: datetime) -> Turn | None:
        """None where somebody else has just called it."""
        row = self._session.execute(
            update(Job)
            .where(Job.id == job_id, Job.called_at.is_(None), Job.status.in_(_CALLABLE))
            .values(turn=Job.turn + 1, called_at=now, held_until=None)
            .returning(Job.turn, Job.priority, Job.key_id)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if row is None:
            return None
        put(self._session, KeyTurn, {"key_id": row.key_id or _NOBODY, "called_at": now})
        return Turn(job_id, row.turn, row.priority)


def take_back(
    session: Session, job_id: str, number: int, held_until: datetime | None = None
) -> None:
    """The turn is over without an answer: the job waits to be called again."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.turn == number, Job.called_at.is_not(None))
        .values(called_at=None, held_until=held_until)
    )


def _ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Waits, and nothing but the order stands in its way, or a silent agent."""
    return (
        Job.status.in_(_CALLABLE),
        Job.called_at.is_(None),
        or_(Job.not_before.is_(None), Job.not_before <= now),
        or_(Job.held_until.is_(None), Job.held_until <= now),
        or_(Job.chip_id.is_(None), Job.chip_id.not_in(_taken_chips(now))),
    )


def _taken_chips(now: datetime) -> CompoundSelect[Any]:
    """Chips that are driven, or for which a job is called already."""
    called = select(Job.chip_id).where(text(CALLED), Job.chip_id.is_not(None))
    leased = select(ChipLease.chip_id).where(text(HELD), ChipLease.expires_at >= now)
    return called.union(leased)


def _in_order(now: datetime) -> Select[Any]:
    """The jobs that could be called, one a chip, the next one first."""
    head = _heads(now)
    nth = func.row_number().over(
        partition_by=head.c.key, order_by=(head.c.priority, head.c.idle_since, *_age(head.c))
    )
    share = head.c.load + nth  # as if those of its key before it had been called
    served = head.c.served_at.nulls_first()
    return select(head.c.id).order_by(head.c.priority, share, served, head.c.idle_since, head.c.id)


def _heads(now: datetime) -> Subquery:
    """Of the jobs for one chip, the next one. A job without a chip stands in no other's way."""
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
    """Ids are in the order of time too; but a database compares times faster than words."""
    return job.created_at, job.id


def _loads() -> Subquery:
    """How many jobs of each key are called and have not ended."""
    key = func.coalesce(Job.key_id, _NOBODY)
    return (
        select(key.label("key"), func.count().label("load"))
        .where(text(CALLED))
        .group_by(key)
        .subquery()
    )
