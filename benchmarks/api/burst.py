"""Many submissions at the same moment, each on a connection of its own: all are accepted, soon."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rich.console import Console

from benchmarks.api.large_service import SETTINGS, LargeService
from benchmarks.fleet.processes import ServiceProcess
from benchmarks.fleet.raw_requests import request
from benchmarks.job_latency import SMALL, Service, golden_student
from service.client.sdk import Tandemcal

WITHIN_S = 2.0  # the last answer
_ACCEPTED = 202


class Extent(NamedTuple):
    """How much is measured."""

    submissions: int  # at once
    rounds: int
    chips: int = 20


class Burst(NamedTuple):
    """What the submissions of one round were answered."""

    statuses: dict[int, int]
    first_s: float  # from the moment when all were sent
    last_s: float


def measure(console: Console, large: LargeService, extent: Extent) -> dict[str, Any]:
    """Submit evaluations to the api on PostgreSQL, and to a service of its own on SQLite."""
    found: dict[str, Any] = {"missed": []}
    bursts = {"postgresql": _rounds(large.api, large.student, extent)}
    with _on_sqlite(large) as service:
        with Tandemcal(service.url, service.key) as client:
            student = golden_student(client, SMALL)
        bursts["sqlite"] = _rounds(service, student, extent)
    for database, rounds in bursts.items():
        found[database] = [burst._asdict() for burst in rounds]
        found["missed"] += [f"{database}: {line}" for line in missed_by(rounds)]
        last = ", ".join(f"{burst.last_s:.2f}" for burst in rounds)
        console.print(f"{extent.submissions} submissions at once, {database}: the last in {last} s")
    return found


def missed_by(rounds: list[Burst]) -> list[str]:
    """Return in words which submissions were refused, and which rounds took too long."""
    refused = [
        f"{number} submissions answered {status}"
        for burst in rounds
        for status, number in burst.statuses.items()
        if status != _ACCEPTED
    ]
    late = [f"the last in {burst.last_s:.1f} s" for burst in rounds if burst.last_s > WITHIN_S]
    return refused + late


@contextmanager
def _on_sqlite(large: LargeService) -> Iterator[Service]:
    """Start `tandemcal up`, which also runs the jobs that are submitted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = SETTINGS | {"TANDEMCAL_DATA_DIR": name}
        process = ServiceProcess(
            large.start, folder, "sqlite", ["up", "--port", "0"], **environment
        )
        try:
            url = process.wait_for_address()
            yield Service(url, (folder / "key").read_text().strip())
        finally:
            process.stop()


def _rounds(service: Service, student: str, extent: Extent) -> list[Burst]:
    with Tandemcal(service.url, service.key) as client:
        chips = [
            client.chips.register(f"at once {seed}", preset="pcm", seed=seed).id
            for seed in range(extent.chips)
        ]
    return [
        asyncio.run(_burst(service, _submissions(service, student, chips, extent.submissions)))
        for _ in range(extent.rounds)
    ]


def _submissions(service: Service, student: str, chips: list[str], number: int) -> list[bytes]:
    return [
        request(
            service,
            "/v1/jobs",
            {"kind": "evaluate", "chip_id": chips[index % len(chips)], "student_id": student},
            {"Idempotency-Key": str(uuid4()), "Connection": "close"},
        )
        for index in range(number)
    ]


async def _burst(service: Service, submissions: list[bytes]) -> Burst:
    began, ended = time.perf_counter(), list[float]()

    async def submit(one: bytes) -> int:
        port = int(service.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(one)
        status = int((await reader.readline()).split()[1])
        ended.append(time.perf_counter() - began)
        await reader.read()
        writer.close()
        return status

    statuses = await asyncio.gather(*map(submit, submissions))
    return Burst(dict(Counter(statuses)), min(ended), max(ended))
