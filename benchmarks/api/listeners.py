"""Status of a job while many listen to two calibrations that the same process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.api.large_service import LargeService
from benchmarks.api.load import get
from benchmarks.job_latency import DIGITS, Latency, Service, Workload, ask_steadily, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal

LIMIT_MS = 50.0  # of the 99th percentile


class Extent(NamedTuple):
    """How much is measured."""

    listeners: int
    seconds: float
    workload: Workload = DIGITS


def measure(console: Console, large: LargeService, extent: Extent) -> dict[str, Any]:
    """Start a service that runs its own jobs on the same tables, and listen to two of them."""
    service = large.fleet.service()
    with Tandemcal(service.url, service.key) as client:
        student = golden_student(client, extent.workload)
        settings = CalibrationSettings(budget=Budget(samples=10**9), target_points=None)
        chips = [
            client.chips.register(f"listened to {seed}", preset="harsh", seed=seed).id
            for seed in (1, 2)
        ]
        jobs = [client.jobs.calibrate(chip, student, settings).id for chip in chips]
        for job in jobs:
            for seen in client.jobs.follow(job, timeout=300):
                if (seen.progress or {}).get("step"):
                    break
        latency, heard = asyncio.run(_listen_and_ask(service, jobs, extent))
        for job in jobs:
            client.jobs.cancel(job)
    return _judged(console, extent, latency, heard)


def _judged(console: Console, extent: Extent, latency: Latency, heard: list[int]) -> dict[str, Any]:
    p99 = 1e3 * latency.p99
    console.print(
        f"Status while {extent.listeners} listen to two calibrations: p50 "
        f"{1e3 * latency.p50:.1f} ms, p99 {p99:.1f} ms (limit {LIMIT_MS:.0f}); each heard "
        f"{min(heard)} to {max(heard)} events"
    )
    missed = [f"p99 of {p99:.0f} ms with {extent.listeners} listeners"] if p99 >= LIMIT_MS else []
    if min(heard) == 0:
        missed.append("a listener heard nothing")
    return {"latency": latency._asdict(), "heard": heard, "missed": missed}


async def _listen_and_ask(
    service: Service, jobs: list[str], extent: Extent
) -> tuple[Latency, list[int]]:
    heard = [0] * extent.listeners
    connected = asyncio.Barrier(extent.listeners + 1)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_listen(service, jobs[number % len(jobs)], heard, number, connected))
            for number in range(extent.listeners)
        ]
        await connected.wait()
        latency = await ask_steadily(service, jobs[0], extent.seconds)
        for task in tasks:
            task.cancel()
    return latency, heard


async def _listen(
    service: Service, job: str, heard: list[int], number: int, connected: asyncio.Barrier
) -> None:
    async with _stream(service, job) as reader:
        await reader.readuntil(b"id: ")  # of an event that was stored before
        await connected.wait()
        async for line in reader:
            heard[number] += line.startswith(b"id: ")


@asynccontextmanager
async def _stream(service: Service, job: str) -> AsyncIterator[asyncio.StreamReader]:
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(get(port, service.key, f"/v1/jobs/{job}/events"))
    try:
        yield reader
    finally:
        writer.close()
