"""Time from SIGKILL of a worker until a survivor goes on with its job.

One of two workers drives a long calibration and has kept a checkpoint; it is killed with all that
belongs to it. The job goes on when the survivor has begun its next attempt, and works again when
that attempt tells of a step. The killed worker is started again before the next repetition.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from sqlalchemy import select

from benchmarks.fleet.local_fleet import LocalFleet, cancel_all, local_fleet
from benchmarks.fleet.processes import Host, ServiceProcess, until
from benchmarks.job_latency import DIGITS, Workload, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.db.executor_tables import Executor
from service.db.repositories.jobs import JobRepository
from service.db.tables import Event, Job
from service.settings import Settings

ENDLESS = 64 * 1_000_000  # samples
NAMES = ("first", "second")
SHORT = {
    "TANDEMCAL_HEARTBEAT_S": "1",
    "TANDEMCAL_EXECUTOR_SILENCE_S": "4",
    "TANDEMCAL_LEASE_S": "4",
}
ONE_JOB = {"TANDEMCAL_PARALLEL_JOBS": "1", "TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0"}
_LOOKING = 1.25  # of the silence: four looks are taken in it
_ROUNDS = 1.0 + 0.5 + 0.3  # s between looks of the keeper, of the queue, and at the lease
_WORK = 1.0  # s that all of this may take to compute


class Extent(NamedTuple):
    """How much is measured."""

    settings: Mapping[str, dict[str, str]]  # of the fleet, by what they are called
    repetitions: int
    phases: float  # s in which a repetition begins at random
    workload: Workload = DIGITS


FULL = Extent({"default settings": {}, "short settings": SHORT}, 5, 5.0)
QUICK = Extent({"short settings": SHORT}, 1, 5.0)


class Recovery(NamedTuple):
    """Seconds from the kill to each stage of the recovery."""

    begun: float  # the next attempt
    working: float  # that attempt reported a step


class Limits(NamedTuple):
    """Time limits that the settings give, in s."""

    heartbeat: float
    silence: float
    lease: float

    @property
    def bound(self) -> float:
        """Longest time until the next attempt begins, in s."""
        return max(_LOOKING * self.silence, self.lease) + _ROUNDS + _WORK


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Measure with all settings of the extent."""
    found = {name: _measure(extent, settings, host) for name, settings in extent.settings.items()}
    for name, report in found.items():
        _show(console, name, report)
    missed = [
        f"with {name} a job stood still for {report['begun']['worst']:.1f} s"
        for name, report in found.items()
        if report["begun"]["worst"] > report["bound_s"]
    ]
    return {"settings": found, "passed": not missed, "missed": missed}


def _measure(extent: Extent, environment: dict[str, str], host: Host) -> dict[str, Any]:
    limits = _limits(environment)
    with (
        tempfile.TemporaryDirectory() as name,
        local_fleet(host, Path(name), **ONE_JOB | environment) as fleet,
    ):
        recoveries = _recoveries(fleet, extent)
    return {
        "limits": limits._asdict(),
        "bound_s": limits.bound,
        "recoveries": [one._asdict() for one in recoveries],
        "begun": _summary([one.begun for one in recoveries]),
        "working": _summary([one.working for one in recoveries]),
    }


def _limits(environment: dict[str, str]) -> Limits:
    def given(name: str) -> float:
        default = Settings.model_fields[name].default
        return float(environment.get(f"TANDEMCAL_{name.upper()}", default))

    return Limits(given("heartbeat_s"), given("executor_silence_s"), given("lease_s"))


def _summary(seconds: list[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "worst": max(seconds)}


def _recoveries(fleet: LocalFleet, extent: Extent) -> list[Recovery]:
    api = fleet.api()
    workers = {name: fleet.starting_worker(name) for name in NAMES}
    with Tandemcal(api.url, api.key) as client:
        student = golden_student(client, extent.workload)
        chip = client.chips.register("bench", preset="harsh", seed=1).id
        found = []
        for _ in range(extent.repetitions):
            _complete(fleet, workers)
            time.sleep(random.random() * extent.phases)  # of heartbeats, renewals and looks
            found.append(_recover(fleet, client, (chip, student), workers))
    return found


def _complete(fleet: LocalFleet, workers: dict[str, ServiceProcess]) -> None:
    """Start the worker that was killed, and wait until both run."""
    for name, worker in workers.items():
        if worker.process.poll() is not None:
            workers[name] = fleet.starting_worker(name)
    until(lambda: _living(fleet) == set(NAMES), "both workers live")
    for worker in workers.values():
        fleet.started(worker)


def _recover(
    fleet: LocalFleet, client: Tandemcal, on: tuple[str, str], workers: dict[str, ServiceProcess]
) -> Recovery:
    """Kill the worker that drives a job, and wait until the other one works on it."""
    settings = CalibrationSettings(budget=Budget(samples=ENDLESS), target_points=None)
    job = client.jobs.calibrate(*on, settings).id
    until(lambda: (_job(fleet, job).checkpoint_step or 0) >= 1, "a checkpoint is kept")
    driver = str(_job(fleet, job).executor_id)
    killed = datetime.now(UTC)
    workers[driver].kill()
    attempt = _job(fleet, job).attempt
    begun = until(lambda: _event_time(fleet, job, "job.started", attempt + 1, killed), "it goes on")
    working = until(lambda: _event_time(fleet, job, "job.progress", None, begun), "it works")
    cancel_all(fleet, client, [job])
    return Recovery((begun - killed).total_seconds(), (working - killed).total_seconds())


def _event_time(
    fleet: LocalFleet, job: str, type: str, attempt: int | None, after: datetime
) -> datetime | None:
    """Time of the first such event, or None."""
    with fleet.database.reading() as session:
        query = select(Event.created_at).where(
            Event.job_id == job, Event.type == type, Event.created_at > after
        )
        if attempt is not None:
            query = query.where(Event.key == str(attempt))
        return session.scalar(query.order_by(Event.seq).limit(1))


def _living(fleet: LocalFleet) -> set[str]:
    with fleet.database.reading() as session:
        return set(session.scalars(select(Executor.id)))


def _job(fleet: LocalFleet, job: str) -> Job:
    with fleet.database.reading() as session:
        return JobRepository(session).get(job)


def _show(console: Console, name: str, report: dict[str, Any]) -> None:
    limits = Limits(**report["limits"])
    console.print(
        f"After SIGKILL, {name} (heartbeat {limits.heartbeat:g} s, silence {limits.silence:g} s, "
        f"lease {limits.lease:g} s)"
    )
    for what, words in (("begun", "the next attempt began"), ("working", "it reported a step")):
        took = ", ".join(f"{one[what]:.1f}" for one in report["recoveries"])
        of = report[what]
        console.print(
            f"  {words:24s} median {of['median']:5.1f} s, worst {of['worst']:5.1f} s  ({took})"
        )
    console.print(f"  bound of the first       {report['bound_s']:5.1f} s")
