"""Rates of one database and one api beside jobs: commits with events, heartbeats of agents.

Commits with events follow one another (their numbers are given under one lock), so more writers do
not tell more than the disk takes; heartbeats of agents meet no common lock.
"""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rich.console import Console

from benchmarks.fleet.local_fleet import LocalFleet, local_fleet, show_processor
from benchmarks.fleet.processes import Host
from benchmarks.fleet.rate import Rate, timed
from benchmarks.fleet.raw_requests import request, send
from benchmarks.job_latency import Service
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip_info import info_to_json
from service.db.repositories.events import EventRepository, Subject
from service.db.session import clock

WRITERS = (1, 4, 16)
CONNECTIONS = 4


class Extent(NamedTuple):
    """How much is measured."""

    seconds: float  # for which events are committed
    agents: int
    beats: int


FULL, QUICK = Extent(5.0, 50, 4000), Extent(0.5, 5, 50)


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Measure commits with events, then heartbeats."""
    with tempfile.TemporaryDirectory() as name, local_fleet(host, Path(name)) as fleet:
        api = fleet.api()
        committed = [_commit(fleet, writers, extent.seconds) for writers in WRITERS]
        beats = _beat(fleet, api, extent.agents, extent.beats)
    console.print("Commits of one event each")
    for rate in committed:
        _show(console, rate, "writers")
    console.print("Heartbeats of agents, through the api")
    _show(console, beats, "connections")
    return {"commits": [rate.as_json() for rate in committed], "beats": beats.as_json()}


def _commit(fleet: LocalFleet, writers: int, seconds: float) -> Rate:
    """Commit events from threads of this process, each on a connection of its own."""
    line = {"line": "one of many"}

    def write(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            with fleet.database.writing() as session:
                EventRepository(session).append(
                    Subject("benchmark"), "log", str(uuid4()), line, clock(session)
                )
            count += 1
        return count

    def write_together() -> int:
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(writers) as threads:
            return sum(threads.map(write, [until] * writers))

    return timed(fleet, writers, write_together)


def _beat(fleet: LocalFleet, api: Service, agents: int, beats: int) -> Rate:
    ids = _registered(api, agents)
    requests = (
        request(api, f"/v1/agents/{ids[number % agents]}/heartbeat", {}) for number in range(beats)
    )

    def beat() -> int:
        asyncio.run(send(api, requests, CONNECTIONS))
        return beats

    return timed(fleet, CONNECTIONS, beat)


def _registered(api: Service, agents: int) -> list[str]:
    """Register agents that only send heartbeats."""
    info = info_to_json(make_chip("bench", preset("ideal"), 1).info)
    ids = [str(uuid4()) for _ in range(agents)]
    bodies = (
        {
            "agent_id": agent_id,
            "name": f"chip {number}",
            "url": "http://127.0.0.1:8799",
            "secret": "s" * 32,
            "version": "1",
            "info": info,
        }
        for number, agent_id in enumerate(ids)
    )
    asyncio.run(send(api, (request(api, "/v1/agents", body) for body in bodies), 1))
    return ids


def _show(console: Console, rate: Rate, who: str) -> None:
    console.print(f"  {rate.load:3d} {who}: {rate.a_second:7.0f} a second")
    show_processor(console, rate.processor)
