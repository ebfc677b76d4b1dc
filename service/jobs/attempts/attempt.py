"""Who may drive: a job takes its chip's lease and begins an attempt, in one transaction."""

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.agents import AgentRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.turns import take_back
from service.db.tables import Job
from service.errors import AttemptSupersededError
from service.jobs.errors import JobTakenOverError
from service.states import ACTIVE, TERMINAL, JobStatus

INTERRUPTED = "job.interrupted"
LEASE_LOST = "lease.lost"
INTERRUPTIONS_MAX = 3  # a job that takes its worker down so often is not tried again
_BUSY = "its chip is driven by somebody else"
_LOOK_AGAIN = timedelta(seconds=1)  # before a job whose chip was not free is called again


class Refusal(Enum):
    """Why a job does not start."""

    OVER = "it has ended, or was called again since"
    LATER = "its chip is held or offline, so its turn was given back"
    BUSY = "an earlier attempt still holds its chip"


class Claim(NamedTuple):
    """A job that was called, and which of its turns it is."""

    job_id: str
    turn: int


class Seat(NamedTuple):
    """One attempt of a job, with the token that all its writes carry."""

    job: Job
    token: int


class Holder(NamedTuple):
    """Who takes leases, and for how long at a time."""

    executor: str
    ttl: timedelta


def take_seat(session: Session, claim: Claim, holder: Holder, now: datetime) -> Seat | Refusal:
    """Begin an attempt, the first one or the one after a crash."""
    job = JobRepository(session).lock(claim.job_id)
    if job.status in TERMINAL or job.turn != claim.turn or job.called_at is None:
        return Refusal.OVER
    broke_off = job.status in ACTIVE and job.executor_id is not None
    token = _token(session, job, holder, now)
    if token is None and broke_off and _holds_its_chip(session, job):
        return Refusal.BUSY
    if token is None:
        _wait(session, job, broke_off=broke_off, now=now)
        return Refusal.LATER
    if broke_off and _interrupted_too_often(session, job, now):
        release(session, Seat(job, token))
        return Refusal.OVER
    return Seat(JobRepository(session).start(job.id, token, holder.executor, now), token)


def leave_seat(session: Session, seat: Seat, reason: str, now: datetime) -> bool:
    """The attempt stops without an answer; the job waits, and its chip is free.

    False where another attempt drives the job already, or it has ended.
    """
    try:
        JobRepository(session).put_back(seat.job.id, seat.token, reason, now)
    except AttemptSupersededError:
        return False
    take_back(session, seat.job.id, seat.job.turn)
    release(session, seat)
    return True


def lose_seat(session: Session, seat: Seat, now: datetime) -> None:
    """Somebody else drives the chip: tell it, and wait.

    Raises JobTakenOverError where it is the job itself that somebody else drives.
    """
    reason = "the lease of its chip was lost; it goes on from its checkpoint"
    if leave_seat(session, seat, reason, now):
        told = {"token": seat.token, "attempt": seat.job.attempt}
        _tell(session, seat.job, LEASE_LOST, str(seat.token), told, now)
    elif JobRepository(session).get(seat.job.id).status in ACTIVE:
        raise JobTakenOverError()


def release(session: Session, seat: Seat) -> None:
    """Let go of the chip, if there is one and it is still held."""
    if seat.job.chip_id is not None:
        LeaseRepository(session).release(seat.job.chip_id, seat.token)


def _wait(session: Session, job: Job, *, broke_off: bool, now: datetime) -> None:
    """Give the turn back, so that a job with a free chip can have it."""
    jobs = JobRepository(session)
    reason = _silence(session, job, now) or _BUSY
    if broke_off and job.token is not None:
        jobs.put_back(job.id, job.token, reason, now)
    else:
        jobs.set_waiting(job.id, reason, now)
    take_back(session, job.id, job.turn, held_until=now + _LOOK_AGAIN)


def _token(session: Session, job: Job, holder: Holder, now: datetime) -> int | None:
    if job.chip_id is None:
        return job.attempt + 1
    if _silence(session, job, now) is not None:
        return None
    leases = LeaseRepository(session)
    return leases.take(job.chip_id, holder.executor, job.id, holder.ttl, now)


def _silence(session: Session, job: Job, now: datetime) -> str | None:
    """Why the job's chip is offline; None where it can be driven."""
    silent = AgentRepository(session).why_silent(str(job.chip_id), now)
    return None if silent is None else f"its chip is offline: {silent}"


def _holds_its_chip(session: Session, job: Job) -> bool:
    """The lease was not free: does an attempt of this very job hold it?"""
    lease = LeaseRepository(session).get(str(job.chip_id))
    return lease is not None and lease.job_id == job.id and lease.token == job.token


def _interrupted_too_often(session: Session, job: Job, now: datetime) -> bool:
    """Tell that the last attempt broke off, and give the job up after the last one allowed."""
    told = {"attempt": job.attempt, "checkpoint_step": job.checkpoint_step}
    _tell(session, job, INTERRUPTED, str(job.attempt), told, now)
    events = EventRepository(session)
    count = len(events.after(0, job_id=job.id, types=[INTERRUPTED]))
    if count < INTERRUPTIONS_MAX or job.status == JobStatus.CANCELLING:
        return False
    JobRepository(session).give_up(
        job.id, f"its worker died {count} times; see the log for the last step", now
    )
    return True


def _tell(session: Session, job: Job, type: str, key: str, data: Json, now: datetime) -> None:
    EventRepository(session).append(
        job.id, type, key, data, now=now, job_id=job.id, chip_id=job.chip_id
    )
