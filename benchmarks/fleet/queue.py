"""Rates of jobs into the queue and out of it, with few and with many waiting.

In: requests to the api over a few kept connections, each one transaction. Out: two workers of two
slots run jobs that are as short as jobs can be (a small network, measured once on an ideal chip);
each of them is still a process of its own, a lease, and the rows and events of any other job.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rich.console import Console
from sqlalchemy import func, select

from benchmarks.fleet.local_fleet import LocalFleet, local_fleet, show_processor
from benchmarks.fleet.processes import Host, until
from benchmarks.fleet.rate import Rate, timed
from benchmarks.fleet.raw_requests import request, send
from benchmarks.job_latency import SMALL, Service, golden_student
from service.client.sdk import Tandemcal
from service.db.repositories.jobs import JobRepository
from service.db.session import clock
from service.db.tables import Job
from service.errors import JobStateError
from service.states import WAITING, JobStatus

CONNECTIONS = 4
SETTINGS = {"TANDEMCAL_JOB_THREADS": "1", "TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0"}


class Extent(NamedTuple):
    """How much is measured."""

    chips: int
    jobs: int
    part: int  # of the jobs, whose rate is reported on its own
    few: int  # jobs that still wait at the end
    drained: int  # jobs


FULL, QUICK = Extent(200, 5_000, 1_000, 100, 300), Extent(10, 100, 20, 100, 10)


class Load(NamedTuple):
    """Service, student and chips to which jobs are submitted."""

    api: Service
    chips: list[str]
    student: str


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Measure submissions without a worker, then the ends of jobs; once more with few waiting."""
    with tempfile.TemporaryDirectory() as name, local_fleet(host, Path(name), **SETTINGS) as fleet:
        api = fleet.api()
        load = _open(fleet, api, extent.chips)
        entered = [_enter(fleet, load, extent.part) for _ in range(extent.jobs // extent.part)]
        for name_of_worker in ("first", "second"):
            fleet.worker(name_of_worker)
        many = _drain(fleet, extent.drained)
        _cancel_all(fleet)  # workers go on meanwhile, so that few are made anew
        _enter(fleet, load, extent.few + 2 * extent.drained)
        few = _drain(fleet, extent.drained)
    _show(console, entered, many, few)
    return {
        "in": [rate.as_json() for rate in entered],
        "out": {"many": many.as_json(), "few": few.as_json()},
    }


def _open(fleet: LocalFleet, api: Service, chips: int) -> Load:
    """Train the student on a worker that is then stopped; register the chips."""
    worker = fleet.worker("trainer")
    with Tandemcal(api.url, api.key) as client:
        student = golden_student(client, SMALL)
        ids = [client.chips.register(f"chip-{n}", preset="ideal", seed=n).id for n in range(chips)]
    worker.stop()
    return Load(api, ids, student)


def _enter(fleet: LocalFleet, load: Load, jobs: int) -> Rate:
    waiting = _waiting(fleet)

    def enter() -> int:
        asyncio.run(send(load.api, _requests(load, waiting, jobs), CONNECTIONS))
        return jobs

    return timed(fleet, waiting, enter)


def _requests(load: Load, first: int, jobs: int) -> Iterator[bytes]:
    for number in range(first, first + jobs):
        chip = load.chips[number % len(load.chips)]
        yield request(
            load.api,
            "/v1/jobs",
            {"kind": "evaluate", "chip_id": chip, "student_id": load.student},
            {"Idempotency-Key": str(uuid4())},
        )


def _drain(fleet: LocalFleet, jobs: int) -> Rate:
    """Time the ends of jobs while the queue is not empty."""
    start = _ended(fleet)
    until(lambda: _ended(fleet) >= start + 4, "jobs end", pause=0.1)
    first = _ended(fleet)

    def drain() -> int:
        until(lambda: _ended(fleet) >= first + jobs, "enough have ended", pause=0.1)
        return _ended(fleet) - first

    return timed(fleet, _waiting(fleet), drain)


def _cancel_all(fleet: LocalFleet) -> None:
    """Cancel in the database directly: the cost of cancelling is not measured here."""
    with fleet.database.reading() as session:
        uncalled = select(Job.id).where(Job.status.in_(WAITING), Job.called_at.is_(None))
        ids = session.scalars(uncalled).all()
    for job_id in ids:  # the workers go on meanwhile: one may have ended since
        with fleet.database.writing() as session, suppress(JobStateError):
            JobRepository(session).request_cancel(job_id, clock(session))


def _waiting(fleet: LocalFleet) -> int:
    return _count(fleet, *WAITING)


def _ended(fleet: LocalFleet) -> int:
    """Number of evaluations that have ended."""
    return _count(fleet, JobStatus.SUCCEEDED)


def _count(fleet: LocalFleet, *statuses: JobStatus) -> int:
    with fleet.database.reading() as session:
        query = select(func.count()).select_from(Job).where(Job.status.in_(statuses))
        return session.scalar(query) or 0


def _show(console: Console, entered: list[Rate], many: Rate, few: Rate) -> None:
    console.print(f"Into the queue, {CONNECTIONS} connections")
    for rate in (entered[0], entered[-1]):
        _line(console, rate)
    console.print("Out of the queue, two workers of two slots")
    for rate in (few, many):
        _line(console, rate)


def _line(console: Console, rate: Rate) -> None:
    console.print(
        f"  {rate.a_second:7.1f} jobs a second with {rate.load} waiting "
        f"({rate.number} in {rate.seconds:.1f} s)"
    )
    show_processor(console, rate.processor)
