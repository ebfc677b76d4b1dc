"""Who may drive: a job takes its chip's lease and begins an attempt, in one transaction."""

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.tables import Job, Json
from service.errors import AttemptSupersededError
from service.states import ACTIVE, TERMINAL, JobStatus

INTERRUPTED = "job.interrupted"
LEASE_LOST = "lease.lost"
INTERRUPTIONS_MAX = 3  # a job that takes its worker down so often is not tried again
_BUSY = "its chip is driven by somebody else"


class Refusal(Enum):
    """Why a job does not start."""

    OVER = "it has ended"
    BUSY = "its chip is held"


class Seat(NamedTuple):
    """One attempt of a job, with the token that all its writes carry."""

    job: Job
    token: int


class Holder(NamedTuple):
    """Who takes leases, and for how long at a time."""

    executor: str
    ttl: timedelta


def take_seat(session: Session, job_id: str, holder: Holder, now: datetime) -> Seat | Refusal:
    """Begin an attempt, the first one or the one after a crash."""
    jobs = JobRepository(session)
    job = jobs.get(job_id)
    if job.status in TERMINAL:
        return Refusal.OVER
    broke_off = job.status in ACTIVE and job.executor_id is not None
    if broke_off and _interrupted_too_often(session, job, now):
        return Refusal.OVER
    token = _token(session, job, holder, now)
    if token is None:
        _wait(jobs, job, broke_off=broke_off)
        return Refusal.BUSY
    return Seat(jobs.start(job_id, token, holder.executor, now), token)


def leave_seat(session: Session, seat: Seat, reason: str) -> None:
    """The attempt stops without an answer; the job waits, and its chip is free."""
    try:
        JobRepository(session).put_back(seat.job.id, seat.token, reason)
    except AttemptSupersededError:
        return  # another attempt drives it already
    release(session, seat)


def lose_seat(session: Session, seat: Seat, now: datetime) -> None:
    """Somebody else drives the chip: tell it, and wait."""
    told = {"token": seat.token, "attempt": seat.job.attempt}
    _tell(session, seat.job, LEASE_LOST, str(seat.token), told, now)
    leave_seat(session, seat, "the lease of its chip was lost; it goes on from its checkpoint")


def release(session: Session, seat: Seat) -> None:
    """Let go of the chip, if there is one and it is still held."""
    if seat.job.chip_id is not None:
        LeaseRepository(session).release(seat.job.chip_id, seat.token)


def _wait(jobs: JobRepository, job: Job, *, broke_off: bool) -> None:
    if broke_off and job.token is not None:
        jobs.put_back(job.id, job.token, _BUSY)
    else:
        jobs.set_waiting(job.id, _BUSY)


def _token(session: Session, job: Job, holder: Holder, now: datetime) -> int | None:
    if job.chip_id is None:
        return job.attempt + 1
    leases = LeaseRepository(session)
    return leases.take(job.chip_id, holder.executor, job.id, holder.ttl, now)


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
