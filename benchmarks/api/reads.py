"""Status of a job, whole and unchanged, against a bare FastAPI route in the same run.

What is compared is the server's processor time for an answer: the rate of a core of its own.
"""

import asyncio
import json
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.api.bare import bare_service
from benchmarks.api.large_service import LargeService
from benchmarks.api.load import Connection, Cost, cost_of, get

STATUS, UNCHANGED = 0.3, 0.45  # of the rate of the bare route, at least
_SOON = timedelta(hours=1)  # longer than the measurement


class Extent(NamedTuple):
    """How much is measured."""

    answers: int  # of each kind in each round
    rounds: int


def measure(console: Console, service: LargeService, extent: Extent) -> dict[str, Any]:
    """Ask for running, waiting and ended jobs in equal parts, and each of them alone."""
    with bare_service() as (bare_port, bare_pid):
        bare = list(islice(cycle([_get(service, bare_port, "/v1/jobs/none")]), extent.answers))
        loads = {name: _requests(service, name, extent.answers) for name in ("status", "unchanged")}
        rounds: list[dict[str, Cost]] = []
        for _ in range(1 + extent.rounds):
            rounds.append(
                {
                    "bare": cost_of(bare_port, bare_pid, bare, 200),
                    "status": cost_of(service.port, service.pid, loads["status"], 200),
                    "unchanged": cost_of(service.port, service.pid, loads["unchanged"], 304),
                }
            )
    return _judged(console, rounds[1:])  # the first pays for what is loaded once


def _judged(console: Console, rounds: list[dict[str, Cost]]) -> dict[str, Any]:
    us = {
        name: statistics.median(costs[name].processor_us for costs in rounds) for name in rounds[0]
    }
    rates = {
        name: statistics.median(
            costs["bare"].processor_us / costs[name].processor_us for costs in rounds
        )
        for name in ("status", "unchanged")
    }
    console.print("Status of a job, of the rate of a bare FastAPI route")
    console.print(f"  bare       {us['bare']:7.0f} us")
    for name, limit in (("status", STATUS), ("unchanged", UNCHANGED)):
        console.print(f"  {name:9}  {us[name]:7.0f} us  {rates[name]:5.3f}   (limit {limit})")
    missed = [
        f"{name}: {rates[name]:.3f} of the bare route"
        for name, limit in (("status", STATUS), ("unchanged", UNCHANGED))
        if rates[name] < limit
    ]
    told = [{name: cost._asdict() for name, cost in costs.items()} for costs in rounds]
    return {"rounds": told, "processor_us": us, "of_bare": rates, "missed": missed}


def _requests(service: LargeService, kind: str, number: int) -> list[bytes]:
    kinds = zip(service.running, service.waiting, service.ended, strict=False)
    jobs = [job for three in kinds for job in three]
    paths = [f"/v1/jobs/{job}" for job in jobs]
    if kind == "status":
        asked = [_get(service, service.port, path) for path in paths]
    else:
        tags = asyncio.run(_tags(service, paths))
        asked = [
            _get(service, service.port, path, f"If-None-Match: {tag}") for path, tag in tags.items()
        ]
    return list(islice(cycle(asked), number))


async def _tags(service: LargeService, paths: Iterable[str]) -> Mapping[str, str]:
    """Return the tag of each job that stays as it is while it is asked for."""
    connection, found = await Connection.open(service.port), dict[str, str]()
    for path in paths:
        head, body = await connection.ask(_get(service, service.port, path), 200)
        if _stays(json.loads(body)):
            found[path] = head.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
    connection.close()
    return found


def _stays(job: Mapping[str, Any]) -> bool:
    """Tell whether the expected start of a job does not pass soon: then it is told no more."""
    start = job["expected_start"]
    return start is None or datetime.fromisoformat(start) > datetime.now(UTC) + _SOON


def _get(service: LargeService, port: int, path: str, *lines: str) -> bytes:
    return get(port, service.api.key, path, *lines)
