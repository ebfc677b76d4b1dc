"""Jobs an hour with one worker and with two, each of one thread.

PostgreSQL, an api and the workers share this machine. The jobs are calibrations of simulated chips,
more of them than are waited for, so that neither a start nor an end is in the rate: it counts from
the end of one job to the end of another, while others still wait. One and two workers take turns.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from sqlalchemy import select

from benchmarks.fleet.local_fleet import (
    LocalFleet,
    cancel_all,
    local_fleet,
    processor_seconds,
    processor_shares,
    show_processor,
)
from benchmarks.fleet.processes import Host, until
from benchmarks.job_latency import DIGITS, Workload, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.db.tables import Job
from service.states import TERMINAL, JobStatus

LEAST = 1.8  # times as many jobs
PRESETS = ("pcm", "hermes", "reram", "harsh")
CHIPS = 12
ONE_THREAD = {
    "TANDEMCAL_PARALLEL_JOBS": "1",
    "TANDEMCAL_JOB_THREADS": "1",
    "TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0",
}


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int
    jobs: int  # that are timed, for each worker
    samples: int  # of each job
    workload: Workload = DIGITS


FULL, QUICK = Extent(3, 6, 1280), Extent(1, 3, 640)


class Rate(NamedTuple):
    """Jobs that a number of workers ended in some seconds."""

    workers: int
    jobs: int
    seconds: float
    job_seconds: float  # of one job, from its start to its end; the median
    processor: dict[str, float]  # shares of one core

    @property
    def jobs_an_hour(self) -> float:
        return 3600 * self.jobs / self.seconds


class Part(NamedTuple):
    """One measurement: how many workers, and for how long."""

    workers: int
    jobs: int


class Load(NamedTuple):
    """Service, student and chips to which jobs are submitted."""

    client: Tandemcal
    chips: list[str]
    student: str
    settings: CalibrationSettings


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Measure one worker and two, in turn."""
    rates: list[Rate] = []
    with (
        tempfile.TemporaryDirectory() as name,
        local_fleet(host, Path(name), **ONE_THREAD) as fleet,
    ):
        api = fleet.api()
        fleet.worker("first")
        with Tandemcal(api.url, api.key) as client:
            load = _open(client, extent)
            for _ in range(extent.rounds):
                rates.append(_rate(fleet, load, workers=1, jobs=extent.jobs))
                second = fleet.worker("second")
                rates.append(_rate(fleet, load, workers=2, jobs=2 * extent.jobs))
                second.stop()
    return _report(console, rates)


def _report(console: Console, rates: list[Rate]) -> dict[str, Any]:
    console.print("Calibrations, each worker with one slot and one thread")
    for rate in rates:
        console.print(
            f"  {rate.workers} workers: {rate.jobs} jobs in {rate.seconds:6.1f} s, "
            f"{rate.jobs_an_hour:6.0f} an hour; one takes {rate.job_seconds:.2f} s"
        )
        show_processor(console, rate.processor)
    one, two = (
        statistics.mean(rate.jobs_an_hour for rate in rates if rate.workers == workers)
        for workers in (1, 2)
    )
    console.print(f"  two workers do {two / one:.3f} times as much   (at least {LEAST})")
    return {
        "rates": [rate._asdict() | {"jobs_an_hour": rate.jobs_an_hour} for rate in rates],
        "ratio": two / one,
        "least": LEAST,
        "passed": two / one >= LEAST,
        "missed": [] if two / one >= LEAST else [f"two workers do {two / one:.2f} times as much"],
    }


def _open(client: Tandemcal, extent: Extent) -> Load:
    student = golden_student(client, extent.workload)
    chips = [
        client.chips.register(f"chip-{n}", preset=PRESETS[n % len(PRESETS)], seed=n).id
        for n in range(CHIPS)
    ]
    settings = CalibrationSettings(budget=Budget(samples=extent.samples), target_points=None)
    return Load(client, chips, student, settings)


def _rate(fleet: LocalFleet, load: Load, *, workers: int, jobs: int) -> Rate:
    """Measure a rate; the first end of a job starts the clock."""
    asked = [
        load.client.jobs.calibrate(
            load.chips[number % len(load.chips)], load.student, load.settings
        ).id
        for number in range(1 + jobs + 4 * workers)
    ]
    until(lambda: len(_ended(fleet, asked)) >= workers, "the first jobs have ended", pause=0.25)
    before, began = processor_seconds(fleet), time.monotonic()
    until(lambda: len(_ended(fleet, asked)) >= jobs + workers, "jobs have ended", pause=0.25)
    after, took = processor_seconds(fleet), time.monotonic() - began
    cancel_all(fleet, load.client, asked)
    return _from_rows(
        _ended(fleet, asked), Part(workers, jobs), processor_shares(before, after, took)
    )


def _from_rows(ended: list[Job], part: Part, processor: dict[str, float]) -> Rate:
    """Compute the rate from the ends of jobs, leaving out the first one of each worker."""
    done = [job for job in ended if job.status == JobStatus.SUCCEEDED]
    if failed := [job for job in ended if job.status == JobStatus.FAILED]:
        raise SystemExit(f"A job failed: {failed[0].reason}")
    spans = sorted(
        (job.ended_at, job.started_at) for job in done if job.ended_at and job.started_at
    )
    ends = [end for end, _ in spans]
    seconds = (ends[part.workers - 1 + part.jobs] - ends[part.workers - 1]).total_seconds()
    took = statistics.median((end - start).total_seconds() for end, start in spans)
    return Rate(part.workers, part.jobs, seconds, took, processor)


def _ended(fleet: LocalFleet, asked: list[str]) -> list[Job]:
    with fleet.database.reading() as session:
        query = select(Job).where(Job.id.in_(asked), Job.status.in_(TERMINAL))
        return list(session.scalars(query))
