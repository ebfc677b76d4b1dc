"""Latency of a status request while a calibration runs.

It starts a service of its own, keeps calibrations running in it, asks GET /v1/jobs/{id} at a steady
50 requests a second over kept connections, and reports the 50th and 99th percentile. Requests
are sent on a fixed schedule; one that is late counts from when it was due, so that a stall is felt
by every request it delays.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from rich.console import Console

from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import Budget, CalibrationSettings, TrainingSettings
from service.client.sdk import Tandemcal
from service.client.teachers import Splits
from service.client.tensors import Samples

RATE = 50.0  # requests a second
DURATION = 30.0  # s
QUICK_DURATION = 5.0  # s
LIMIT = 0.025  # s, of the 99th percentile
START_WITHIN = 90.0  # s
TRAINED_WITHIN = 300.0  # s
NETWORK = NetworkSpec(
    input_shape=(1, 8, 8),
    layers=(
        Conv2d(
            name="conv1",
            in_channels=1,
            out_channels=16,
            kernel=(3, 3),
            padding=(1, 1),
            ceiling=2.0,
        ),
        Conv2d(
            name="conv2",
            in_channels=16,
            out_channels=32,
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1),
            ceiling=2.0,
        ),
        Linear(name="hidden", in_features=512, out_features=64, ceiling=2.0),
        Linear(name="readout", in_features=64, out_features=10),
    ),
)


class Workload(NamedTuple):
    """The network and the samples that jobs of a benchmark work on."""

    network: NetworkSpec
    samples: int  # to learn from; half as many to measure with


DIGITS = Workload(NETWORK, 512)
# Jobs on it are as short as jobs can be.
SMALL = Workload(
    NetworkSpec(
        input_shape=(6,),
        layers=(
            Linear(name="hidden", in_features=6, out_features=8),
            Linear(name="readout", in_features=8, out_features=3),
        ),
    ),
    samples=32,
)


class Service(NamedTuple):
    url: str
    key: str


class Latency(NamedTuple):
    """Seconds from when a request was due until its answer was read."""

    requests: int
    rate: float  # requests a second, as it came out
    p50: float
    p99: float
    worst: float
    busy_share: float  # of the answers that told of a running calibration


def main(arguments: Sequence[str]) -> int:
    """Measure; exit code 1 where `--check` finds the 99th percentile too high."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    duration = QUICK_DURATION if options.quick else DURATION
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as service:
        found = _measure(service, duration)
    console.print(f"GET /v1/jobs/{{id}} while a calibration runs, {os.cpu_count()} cores")
    console.print(f"  requests       {found.requests:8d}   at {found.rate:.1f} a second")
    console.print(f"  50th percentile{1000 * found.p50:8.1f} ms")
    console.print(f"  99th percentile{1000 * found.p99:8.1f} ms   (limit {1000 * LIMIT:.0f} ms)")
    console.print(f"  slowest        {1000 * found.worst:8.1f} ms")
    console.print(f"  calibration ran during {100 * found.busy_share:.0f} % of the requests")
    if options.json:
        Path(options.json).write_text(json.dumps(_as_json(found), indent=2) + "\n")
    return 1 if options.check and found.p99 >= LIMIT else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.job_latency", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DURATION:.0f} s only")
    parser.add_argument("--check", action="store_true", help="exit with 1 above the limit")
    return parser.parse_args(arguments)


def _measure(service: Service, duration: float) -> Latency:
    with Tandemcal(service.url, service.key) as client:
        student = golden_student(client)
        chip = client.chips.register("bench", preset="harsh", seed=1)
        settings = CalibrationSettings(budget=Budget(samples=64 * 100_000), target_points=None)
        job = client.jobs.calibrate(chip.id, student, settings)
        for seen in client.jobs.follow(job.id, timeout=120):
            if (seen.progress or {}).get("phase") == "calibrating":
                break
        latency = asyncio.run(ask_steadily(service, job.id, duration))
        client.jobs.cancel(job.id)
        client.jobs.wait(job.id, timeout=60)
    return latency


def golden_student(client: Tandemcal, workload: Workload = DIGITS) -> str:
    """Train a student on random samples: a chip needs work here, not accuracy."""
    network, samples = workload
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in network.tensor_shapes.items()
    }
    teacher = client.teachers.upload("random", network, weights)
    splits = Splits(_samples(rng, network, samples), _samples(rng, network, samples // 2))
    targets = client.target_sets.upload("random", teacher.id, splits)
    job = client.jobs.train(targets.id, TrainingSettings(epochs=1))
    job = client.jobs.wait(job.id, timeout=TRAINED_WITHIN)
    return str(job.student_id)


def _samples(rng: np.random.Generator, network: NetworkSpec, count: int) -> Samples:
    inputs = rng.random((count, *network.input_shape), dtype=np.float32)
    return Samples(inputs, rng.integers(0, network.stages[-1].columns, count))


async def ask_steadily(service: Service, job_id: str, duration: float) -> Latency:
    """Ask for the status of a job 50 times a second, for `duration` s."""
    took: list[float] = []
    busy: list[bool] = []
    lines = Lines(service, f"/v1/jobs/{job_id}")
    began = time.perf_counter()

    async def one(due: float) -> None:
        body = await lines.get()
        took.append(time.perf_counter() - due)
        busy.append(json.loads(body)["status"] == "running")

    async with asyncio.TaskGroup() as group:
        for number in range(round(duration * RATE)):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    elapsed = time.perf_counter() - began
    lines.close()
    p50, p99 = np.percentile(took, [50, 99])
    share = sum(busy) / len(busy)
    return Latency(len(took), len(took) / elapsed, float(p50), float(p99), max(took), share)


class Lines:
    """Kept connections that send one request each; lean, so that they are not what is measured."""

    def __init__(self, service: Service, path: str) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self._host, self._port = host, int(port)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {service.key}\r\n\r\n"
        self._question = head.encode()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self) -> bytes:
        """Body of the answer, whose status must be 200."""
        line = await self._take()
        reader, writer = line
        writer.write(self._question)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 200"):
            raise SystemExit(f"The service answered {head.splitlines()[0]}.")
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        self._idle.append(line)
        return body

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the service closes what was idle for some seconds
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)


@contextmanager
def running_service(folder: Path, **environment: str) -> Iterator[Service]:
    """Run `tandemcal up` with a folder of its own on a free port."""
    command = [sys.executable, "-m", "service.cli", "up", "--port", "0"]
    settings = os.environ | {"TANDEMCAL_DATA_DIR": str(folder)} | environment
    process = subprocess.Popen(
        command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = _address(process)
        _wait_until_ready(url)
        yield Service(url, (folder / "key").read_text().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _address(process: subprocess.Popen[str]) -> str:
    said = "Tandemcal answers at "
    for line in process.stdout or ():
        if line.startswith(said):
            return line.removeprefix(said).strip()
    raise SystemExit("The service did not start.")


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not httpx.get(f"{url}/readyz").is_success:
        if time.monotonic() > deadline:
            raise SystemExit("The service was not ready in time.")
        time.sleep(0.1)


def _as_json(found: Latency) -> dict[str, float]:
    return {
        "requests": found.requests,
        "rate_per_s": round(found.rate, 2),
        "p50_ms": round(1000 * found.p50, 2),
        "p99_ms": round(1000 * found.p99, 2),
        "worst_ms": round(1000 * found.worst, 2),
        "limit_ms": 1000 * LIMIT,
        "busy_share": found.busy_share,
        "cores": os.cpu_count() or 0,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
