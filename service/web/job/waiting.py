"""Why a job waits, its place in the queue of its chip, and when it is expected to start."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.agents import AgentRepository
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.queue_estimate import QueueEstimate, QueueEstimateRepository
from service.db.tables import Job
from service.formatting import instant, plural, short_id

NO_WORKER = "no worker runs; start one with: tandemcal worker"


class Wait(NamedTuple):
    """What is known of the wait of one job."""

    why: str
    place: int | None  # in the queue of its chip; 1 is next
    start: datetime | None  # expected; None if it cannot be estimated


class _Surroundings(NamedTuple):
    """What holds jobs up: of the chips that they wait for, and of the workers."""

    offline: Set[str]  # ids of chips
    driving: Mapping[str, Job]  # the job that drives a chip, by the chip's id
    slots: int  # of all living workers
    running: int  # jobs
    estimates: Mapping[str, QueueEstimate]  # by the job's id


def waits(
    session: Session, jobs: Sequence[Job], silence: timedelta, now: datetime
) -> dict[str, Wait]:
    """Return the wait of each of these jobs by its id; none for a row that is damaged.

    `silence` is how long a living worker may be without a heartbeat. The number of queries grows
    with the number of chips that are waited for.
    """
    chips = sorted({job.chip_id for job in jobs if job.chip_id})
    executors = ExecutorRepository(session)
    around = _Surroundings(
        offline=AgentRepository(session).offline(chips, now),
        driving=OverviewRepository(session).running_jobs(chips),
        slots=executors.slots(silence, now),
        running=sum(executors.load().values()),
        estimates=_estimates(session, jobs, now),
    )
    found = {}
    for job in jobs:
        with going_on():
            estimate = around.estimates.get(job.id, QueueEstimate())
            why = _why(session, job, around, now)
            found[job.id] = Wait(why, estimate.position, estimate.start)
    return found


def _estimates(session: Session, jobs: Sequence[Job], now: datetime) -> Mapping[str, QueueEstimate]:
    """Estimate the starts together; job by job where the row of one is damaged."""
    repository = QueueEstimateRepository(session)
    with going_on():
        return repository.of(jobs, now)
    found: dict[str, QueueEstimate] = {}
    for job in jobs:
        with going_on():
            found |= repository.of([job], now)
    return found


def _why(session: Session, job: Job, around: _Surroundings, now: datetime) -> str:
    """Say what holds a job up; the first thing that has to end before it can start."""
    if job.not_before is not None and job.not_before > now:
        return f"not before {instant(job.not_before)}, as it was asked for"
    if job.chip_id is not None and job.chip_id in around.offline:
        silent = AgentRepository(session).why_silent(job.chip_id, now)
        return f"its chip is offline: {silent}" if silent else "its chip is offline"
    reason = around.estimates.get(job.id, QueueEstimate()).reason
    if reason and job.held_until is not None and job.held_until > now:
        return f"{reason.rstrip('.')}; it is tried again at {instant(job.held_until)}"
    if not around.slots:
        return NO_WORKER
    return _before(job, around, reason)


def _before(job: Job, around: _Surroundings, reason: str | None) -> str:
    """Say which jobs come before one that could start."""
    place = around.estimates.get(job.id, QueueEstimate()).position or 1
    ahead = f"{plural(place - 1, 'job')} before it" if place > 1 else ""
    if driving := around.driving.get(job.chip_id or ""):
        words = f"its chip runs {driving.kind} {short_id(driving.id)}"
        return f"{words}, and {ahead}" if ahead else words
    if ahead:
        return ahead
    if around.running >= around.slots:
        return f"the workers are busy: {around.running} of {plural(around.slots, 'place')} taken"
    return reason.rstrip(".") if reason else "it starts within seconds"
