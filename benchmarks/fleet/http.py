"""Cost of HTTP: one calibration on a chip in its own process, and on one behind an agent.

Both chips are of the same kind and seed and do not age, so that every pair of jobs does the same
work and ends in the same accuracy, to the bit. The jobs of a pair run one after the other, in turn
first; a job's time is from its start to its end, as the service tells it. On a machine that does
other things besides, every hand-over between processes waits; so the same work is also done without
the service around it, and the processor time of all processes is reported.
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.fleet.processes import Host, ServiceProcess, until
from benchmarks.fleet.processor import processor_ratio
from benchmarks.job_latency import DIGITS, Service, Workload, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.schemas.jobs import JobView

LIMIT = 1.15  # times as long as in process
CHIP, SEED = "harsh", 1
STILL = {"TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0", "TANDEMCAL_AGENT_AGING": "0"}


class Extent(NamedTuple):
    """How much is measured."""

    pairs: int  # short ones: what else the machine does meets both of a pair
    samples: int
    rounds: int  # without the service around the work
    workload: Workload = DIGITS


FULL, QUICK = Extent(20, 1600, 3), Extent(2, 640, 1)


class Pair(NamedTuple):
    """Seconds that the same job took in process and over HTTP."""

    in_process: float
    over_http: float
    alike: bool  # both ended in the same result

    @property
    def ratio(self) -> float:
        return self.over_http / self.in_process


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Run pairs of jobs and take the median of their ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _service(host, folder) as service, _agent(host, folder, service) as agent:
            pairs = _pairs(service, extent)
            busy = processor_ratio(folder, agent, extent.rounds)
    ratio = statistics.median(pair.ratio for pair in pairs)
    console.print("A calibration in process and over HTTP, in turn")
    for pair in pairs:
        console.print(
            f"  {pair.in_process:7.2f} s  {pair.over_http:7.2f} s  {pair.ratio:5.3f}"
            f"  {'same result' if pair.alike else 'ANOTHER RESULT'}"
        )
    console.print(f"  median of the ratios {ratio:5.3f}   (limit {LIMIT})")
    console.print(f"  of processor time    {busy:5.3f}")
    return {
        "pairs": [pair._asdict() | {"ratio": pair.ratio} for pair in pairs],
        "ratio": ratio,
        "processor_ratio": busy,
        "limit": LIMIT,
        "passed": ratio <= LIMIT and all(pair.alike for pair in pairs),
    }


def _pairs(service: Service, extent: Extent) -> list[Pair]:
    budget = Budget(samples=extent.samples)
    settings = CalibrationSettings(budget=budget, batch=32, target_points=None)
    with Tandemcal(service.url, service.key) as client:
        student = golden_student(client, extent.workload)
        near = client.chips.register("near", preset=CHIP, seed=SEED).id
        far = until(lambda: _registered(client, "far"), "the agent has registered", pause=0.2)
        found = []
        for number in range(1 + extent.pairs):
            order = (near, far) if number % 2 == 0 else (far, near)
            jobs = {chip: _run(client, chip, student, settings) for chip in order}
            found.append(Pair(_took(jobs[near]), _took(jobs[far]), _alike(jobs[near], jobs[far])))
    return found[1:]  # the first pair pays for what is loaded once


def _run(client: Tandemcal, chip: str, student: str, settings: CalibrationSettings) -> JobView:
    job = client.jobs.wait(client.jobs.calibrate(chip, student, settings).id, timeout=600)
    if job.status != "succeeded":
        raise SystemExit(f"A job {job.status}: {job.reason}")
    return job


def _took(job: JobView) -> float:
    assert job.started_at is not None
    assert job.ended_at is not None
    return (job.ended_at - job.started_at).total_seconds()


def _alike(one: JobView, other: JobView) -> bool:
    names = ("accuracy", "rate_error", "fingerprint", "published")
    return all((one.result or {})[name] == (other.result or {})[name] for name in names)


def _registered(client: Tandemcal, name: str) -> str | None:
    """Return the id of the chip of this name; None before its agent has registered it."""
    return next((chip.id for chip in client.chips.list() if chip.name == name), None)


@contextmanager
def _service(host: Host, folder: Path) -> Iterator[Service]:
    """Start a service that runs its own jobs."""
    data = {"TANDEMCAL_DATA_DIR": str(folder)} | STILL
    process = ServiceProcess(host.start, folder, "service", ["up", "--port", "0"], **data)
    try:
        yield Service(process.wait_for_address(), (folder / "key").read_text().strip())
    finally:
        process.stop()


@contextmanager
def _agent(host: Host, folder: Path, service: Service) -> Iterator[int]:
    """Start an agent; yield its process id."""
    words = ["agent", "--name", "far", "--port", "0", "--chip", CHIP, "--seed", str(SEED)]
    words += ["--data-dir", str(folder / "agents"), "--service", service.url]
    words += ["--join-key-file", str(folder / "key")]
    process = ServiceProcess(host.start, folder, "agent", words, **STILL)
    try:
        yield process.process.pid
    finally:
        process.stop()
