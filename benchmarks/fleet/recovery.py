"""How long a job stands still when its worker dies: from SIGKILL until a survivor goes on with it.

One of two workers drives a long calibration and has kept a checkpoint; it is killed with all that
belongs to it. The job goes on when the survivor has begun its next attempt, and works again when
that attempt tells of a step. The killed worker is started again before the next repetition.
"""

import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from sqlalchemy import select

from benchmarks.fleet.town import Role, Town, a_town, call_off, until
from benchmarks.job_latency import golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.db.repositories.jobs import JobRepository
from service.db.tables import Event, Executor, Job
from service.settings import Settings

REPETITIONS, QUICK_REPETITIONS = 5, 1
PHASES = 5.0  # s in which a repetition begins at random
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


class Recovery(NamedTuple):
    """Seconds after the kill."""

    begun: float  # the next attempt
    working: float  # that attempt told of a step


class Limits(NamedTuple):
    """What the settings allow, s."""

    heartbeat: float
    silence: float
    lease: float

    @property
    def bound(self) -> float:
        """Until the next attempt begins."""
        return max(_LOOKING * self.silence, self.lease) + _ROUNDS + _WORK


def measure(console: Console, quick: bool) -> dict[str, Any]:
    """With short settings, and with those of an installation that says nothing else."""
    chosen = (
        {"short settings": SHORT} if quick else {"default settings": {}, "short settings": SHORT}
    )
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    found = {name: _measure(repetitions, settings) for name, settings in chosen.items()}
    for name, told in found.items():
        _show(console, name, told)
    missed = [
        f"with {name} a job stood still for {told['begun']['worst']:.1f} s"
        for name, told in found.items()
        if told["begun"]["worst"] > told["bound_s"]
    ]
    return {"settings": found, "passed": not missed, "missed": missed}


def _measure(repetitions: int, environment: dict[str, str]) -> dict[str, Any]:
    limits = _limits(environment)
    with tempfile.TemporaryDirectory() as name, a_town(Path(name), **ONE_JOB | environment) as town:
        recoveries = _recoveries(town, repetitions)
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


def _recoveries(town: Town, repetitions: int) -> list[Recovery]:
    api = town.api()
    workers = {name: town.starting_worker(name) for name in NAMES}
    with Tandemcal(api.url, api.key) as client:
        student = golden_student(client)
        chip = client.chips.register("bench", preset="harsh", seed=1).id
        return [_recover(town, client, (chip, student), workers) for _ in range(repetitions)]


def _recover(
    town: Town, client: Tandemcal, on: tuple[str, str], workers: dict[str, Role]
) -> Recovery:
    """Once; afterwards both workers live again."""
    until(lambda: _living(town) == set(NAMES), "both workers live")
    for worker in workers.values():
        town.started(worker)
    time.sleep(random.random() * PHASES)  # of heartbeats, renewals and looks
    settings = CalibrationSettings(budget=Budget(samples=ENDLESS))
    job = client.jobs.calibrate(*on, settings).id
    until(lambda: (_job(town, job).checkpoint_step or 0) >= 1, "a checkpoint is kept")
    driver = str(_job(town, job).executor_id)
    killed = datetime.now(UTC)
    workers[driver].kill()
    attempt = _job(town, job).attempt
    begun = until(lambda: _told(town, job, "job.started", attempt + 1, killed), "it goes on")
    working = until(lambda: _told(town, job, "job.progress", None, begun), "it works")
    workers[driver] = town.starting_worker(driver)
    call_off(town, client, [job])
    return Recovery((begun - killed).total_seconds(), (working - killed).total_seconds())


def _told(town: Town, job: str, type: str, attempt: int | None, after: datetime) -> datetime | None:
    """When the first such event was told."""
    with town.database.reading() as session:
        query = select(Event.created_at).where(
            Event.job_id == job, Event.type == type, Event.created_at > after
        )
        if attempt is not None:
            query = query.where(Event.key == str(attempt))
        return session.scalar(query.order_by(Event.seq).limit(1))


def _living(town: Town) -> set[str]:
    with town.database.reading() as session:
        return set(session.scalars(select(Executor.id)))


def _job(town: Town, job: str) -> Job:
    with town.database.reading() as session:
        return JobRepository(session).get(job)


def _show(console: Console, name: str, told: dict[str, Any]) -> None:
    limits = Limits(**told["limits"])
    console.print(
        f"After SIGKILL, {name} (heartbeat {limits.heartbeat:g} s, silence {limits.silence:g} s, "
        f"lease {limits.lease:g} s)"
    )
    for what, words in (("begun", "the next attempt began"), ("working", "it told of a step")):
        took = ", ".join(f"{one[what]:.1f}" for one in told["recoveries"])
        of = told[what]
        console.print(
            f"  {words:24s} median {of['median']:5.1f} s, worst {of['worst']:5.1f} s  ({took})"
        )
    console.print(f"  bound of the first       {told['bound_s']:5.1f} s")
