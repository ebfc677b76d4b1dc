"""The service that is attacked: a client that asks for a job, and a calibration that runs."""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil

from benchmarks.fleet.processes import Host, ServiceProcess
from benchmarks.job_latency import Lines, Service, Workload, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.listening import spare_startup_objects

RATE = 50.0  # requests a second
_GAP_S = 0.004  # between requests that are late: half of what a key may ask in a second
_MIB = 2**20
_SAMPLED_S = 0.2
_RAN_ON = ("job.interrupted", "lease.lost")  # events of a job that lost its chip


class Felt(NamedTuple):
    """What the client and the calibration felt."""

    requests: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    dropped: int  # connections of the client that were closed under a request; it asked again
    growth_mib: float  # of the service's memory, at most, against before
    leases_lost: int
    status: str  # of the calibration, in the end
    attempts: int


class Victim:
    """A running service, and the calibration in it."""

    def __init__(self, service: Service, pid: int, client: Tandemcal, workload: Workload) -> None:
        self.service, self.pid, self.job_id = service, pid, ""
        self._client = client
        self._student = golden_student(client, workload)
        self._chip = client.chips.register("attacked", preset="harsh", seed=1).id

    @property
    def port(self) -> int:
        return int(self.service.url.rpartition(":")[2])

    def calibrate(self) -> None:
        """Start a calibration that takes as long as it can, unless one runs."""
        jobs = self._client.jobs
        if self.job_id and not jobs.get(self.job_id).terminal:
            return
        endless = CalibrationSettings(budget=Budget(samples=10**9), target_points=None)
        self.job_id = jobs.calibrate(self._chip, self._student, endless).id
        for seen in jobs.follow(self.job_id, timeout=120):
            if (seen.progress or {}).get("step"):
                break

    def cancel(self) -> None:
        """Cancel the calibration, if it runs."""
        with suppress(TandemcalError):
            self._client.jobs.cancel(self.job_id)


@contextmanager
def running_victim(host: Host, folder: Path, workload: Workload) -> Iterator[Victim]:
    """Start a service with a chip and a student."""
    data = {"TANDEMCAL_DATA_DIR": str(folder), "TANDEMCAL_LOG_LEVEL": "warning"}
    process = ServiceProcess(host.start, folder, "service", ["up", "--port", "0"], **data)
    try:
        url = process.wait_for_address()
        service = Service(url, (folder / "key").read_text().strip())
        with Tandemcal(url, service.key) as client:
            victim = Victim(service, process.process.pid, client, workload)
            yield victim
            victim.cancel()
    finally:
        process.stop()


@contextmanager
def attacked(
    victim: Victim, attack: str | None, seconds: float, priority: str
) -> Iterator[dict[str, Any]]:
    """Run an attack in a process of its own; yield a place for what it counted."""
    counted: dict[str, Any] = {}
    if attack is None:
        yield counted
        return
    words = ["-m", "benchmarks.attacks.stranger", attack, str(victim.port), str(seconds), priority]
    stranger = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    try:
        yield counted
        said, _ = stranger.communicate(timeout=60)
        counted.update(json.loads(said))
    finally:
        stranger.kill()
        stranger.wait()


def feel(victim: Victim, seconds: float, beside: Callable[[], None] | None = None) -> Felt:
    """Ask for the job 50 times a second; `beside` is done again and again meanwhile."""
    with _memory(victim.pid) as growth, _beside(beside), _without_full_collections():
        took, dropped = asyncio.run(_ask(victim, seconds))
    p50, p99 = np.percentile(took, [50, 99])
    job, log = _calibration(victim)
    return Felt(
        requests=len(took),
        p50_ms=1000 * float(p50),
        p99_ms=1000 * float(p99),
        worst_ms=1000 * max(took),
        dropped=dropped,
        growth_mib=max(growth) / _MIB,
        leases_lost=sum(log.count(f" {event} ") for event in _RAN_ON),
        status=job["status"],
        attempts=job["attempt"],
    )


async def _ask(victim: Victim, seconds: float) -> tuple[list[float], int]:
    """Send requests on a fixed schedule; a late one counts from when it was due."""
    took, dropped, began = list[float](), 0, time.perf_counter()
    lines = Lines(victim.service, f"/v1/jobs/{victim.job_id}")

    async def one(due: float) -> None:
        nonlocal dropped
        while True:
            try:
                await lines.get()
                break
            except (OSError, asyncio.IncompleteReadError):
                dropped += 1
        took.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * RATE)):
            due = began + number / RATE
            await asyncio.sleep(max(_GAP_S, due - time.perf_counter()))
            group.create_task(one(due))
    lines.close()
    return took, dropped


@contextmanager
def _memory(pid: int) -> Iterator[list[float]]:
    """Yield how much more memory the process has than now, one figure a sample."""
    process, done, growth = psutil.Process(pid), threading.Event(), [0.0]
    before = process.memory_info().rss

    def sample() -> None:
        while not done.wait(_SAMPLED_S):
            growth.append(process.memory_info().rss - before)

    with _thread(sample, done):
        yield growth


@contextmanager
def _without_full_collections() -> Iterator[None]:
    """Keep this process from stops that would be taken for those of the service."""
    spare_startup_objects()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _beside(work: Callable[[], None] | None) -> Iterator[None]:
    done = threading.Event()

    def repeat() -> None:
        while work is not None and not done.wait(0.1):
            work()

    with _thread(repeat, done):
        yield


@contextmanager
def _thread(work: Callable[[], None], done: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _calibration(victim: Victim) -> tuple[dict[str, Any], str]:
    headers = {"Authorization": f"Bearer {victim.service.key}"}
    with httpx.Client(base_url=victim.service.url, headers=headers, timeout=30) as client:
        job: dict[str, Any] = client.get(f"/v1/jobs/{victim.job_id}").json()
        return job, client.get(f"/v1/jobs/{victim.job_id}/log").text
