"""The begin and the end of an attempt: the job takes its chip's lease in the same transaction."""

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.agents import AgentRepository
from service.db.repositories.dispatches import requeue
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.tables import Job
from service.errors import AttemptSupersededError
from service.jobs.errors import JobTakenOverError
from service.states import ACTIVE, TERMINAL, JobStatus
from service.wait_reasons import BUSY, LEASE_GONE, offline

INTERRUPTED = "job.interrupted"
LEASE_LOST = "lease.lost"
INTERRUPTIONS_MAX = 3  # a job that takes its worker down so often is not tried again
_LOOK_AGAIN = timedelta(seconds=1)  # before a job whose chip was not free is dispatched again


class Refusal(Enum):
    """Why an attempt does not begin."""

    OVER = "the job has ended, or was dispatched again since"
    LATER = "the job's chip is held or offline, so the job was put back into the queue"
    BUSY = "an earlier attempt still holds the job's chip"


class DispatchTicket(NamedTuple):
    """A job that the engine was handed, and which of its dispatches this is."""

    job_id: str
    number: int


class Attempt(NamedTuple):
    """One attempt at a job, with the token that all its writes carry."""

    job: Job
    token: int


class Holder(NamedTuple):
    """The executor that takes leases, and for how long at a time."""

    executor: str
    ttl: timedelta


def begin_attempt(
    session: Session, ticket: DispatchTicket, holder: Holder, now: datetime
) -> Attempt | Refusal:
    """Begin the job's first attempt, or the next one after a crash.

    Raises JobNotFoundError.
    """
    job = JobRepository(session).lock(ticket.job_id)
    if job.status in TERMINAL or job.turn != ticket.number or job.called_at is None:
        return Refusal.OVER
    broke_off = job.status in ACTIVE and job.executor_id is not None
    token = _token(session, job, holder, now)
    if token is None and broke_off and _holds_its_chip(session, job):
        return Refusal.BUSY
    if token is None:
        _wait(session, job, broke_off=broke_off, now=now)
        return Refusal.LATER
    if broke_off and _interrupted_too_often(session, job, now):
        release(session, Attempt(job, token))
        return Refusal.OVER
    return Attempt(JobRepository(session).start(job.id, token, holder.executor, now), token)


def leave_attempt(
    session: Session,
    attempt: Attempt,
    reason: str,
    now: datetime,
    pause: timedelta = timedelta(0),
) -> bool:
    """Stop an attempt without a result: the job waits, at least for `pause`; its chip is free.

    Returns False where another attempt drives the job already, or the job has ended.
    """
    try:
        JobRepository(session).put_back(attempt.job.id, attempt.token, reason, now)
    except AttemptSupersededError:
        return False
    until = now + pause if pause else None
    requeue(session, attempt.job.id, attempt.job.turn, held_until=until)
    release(session, attempt)
    return True


def lose_attempt(session: Session, attempt: Attempt, now: datetime) -> None:
    """Stop an attempt whose chip somebody else drives, and emit an event about it.

    Raises JobTakenOverError where it is the job itself that somebody else drives.
    """
    if leave_attempt(session, attempt, LEASE_GONE, now):
        payload = {"token": attempt.token, "attempt": attempt.job.attempt}
        _emit(session, attempt.job, LEASE_LOST, str(attempt.token), payload, now)
    elif JobRepository(session).get(attempt.job.id).status in ACTIVE:
        raise JobTakenOverError()


def release(session: Session, attempt: Attempt) -> None:
    """Release the job's chip, if it has one and the attempt still holds it."""
    if attempt.job.chip_id is not None:
        LeaseRepository(session).release(attempt.job.chip_id, attempt.token)


def _wait(session: Session, job: Job, *, broke_off: bool, now: datetime) -> None:
    """Put the job back into the queue, so that a job with a free chip can run."""
    jobs = JobRepository(session)
    reason = _silence(session, job, now) or BUSY
    if broke_off and job.token is not None:
        jobs.put_back(job.id, job.token, reason, now)
    else:
        jobs.set_waiting(job.id, reason, now)
    requeue(session, job.id, job.turn, held_until=now + _LOOK_AGAIN)


def _token(session: Session, job: Job, holder: Holder, now: datetime) -> int | None:
    """Return the token of a new attempt; None where the chip is held or offline."""
    if job.chip_id is None:
        return job.attempt + 1
    if _silence(session, job, now) is not None:
        return None
    leases = LeaseRepository(session)
    return leases.take(job.chip_id, holder.executor, job.id, holder.ttl, now)


def _silence(session: Session, job: Job, now: datetime) -> str | None:
    """Return why the job's chip is offline; None where it can be driven."""
    silent = AgentRepository(session).why_silent(str(job.chip_id), now)
    return None if silent is None else offline(silent)


def _holds_its_chip(session: Session, job: Job) -> bool:
    """Return whether the lease that was not free is held by an attempt of this very job."""
    lease = LeaseRepository(session).get(str(job.chip_id))
    return lease is not None and lease.job_id == job.id and lease.token == job.token


def _interrupted_too_often(session: Session, job: Job, now: datetime) -> bool:
    """Emit that the last attempt broke off; fail the job after the last one allowed."""
    payload = {"attempt": job.attempt, "checkpoint_step": job.checkpoint_step}
    _emit(session, job, INTERRUPTED, str(job.attempt), payload, now)
    events = EventRepository(session)
    count = len(events.after(0, job_id=job.id, types=[INTERRUPTED]))
    if count < INTERRUPTIONS_MAX or job.status == JobStatus.CANCELLING:
        return False
    JobRepository(session).give_up(
        job.id, f"its worker died {count} times; see the log for the last step", now
    )
    return True


def _emit(session: Session, job: Job, type: str, key: str, payload: Json, now: datetime) -> None:
    EventRepository(session).append(Subject(job.id, job.chip_id), type, key, payload, now)
