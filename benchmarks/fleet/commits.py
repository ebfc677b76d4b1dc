"""What one database and one api bear beside jobs: events that are told, and agents that are alive.

Commits with events follow one another (their numbers are given under one lock), so more writers do
not tell more than the disk takes; heartbeats of agents meet no common lock.
"""

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rich.console import Console

from benchmarks.fleet.asking import request, send
from benchmarks.fleet.town import (
    Town,
    a_town,
    processor_seconds,
    processor_shares,
    show_processor,
)
from benchmarks.job_latency import Service
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import info_to_json
from service.db.repositories.events import EventRepository
from service.db.session import clock

WRITERS = (1, 4, 16)
SECONDS, QUICK_SECONDS = 5.0, 0.5  # for so long is told
AGENTS, QUICK_AGENTS = 50, 5
BEATS, QUICK_BEATS = 4000, 50
CONNECTIONS = 4


class Rate(NamedTuple):
    """So many, by so many at a time."""

    at_a_time: int
    number: int
    seconds: float
    processor: dict[str, float]  # shares of one core

    @property
    def a_second(self) -> float:
        return self.number / self.seconds


def measure(console: Console, quick: bool) -> dict[str, Any]:
    """Events first, then heartbeats."""
    with tempfile.TemporaryDirectory() as name, a_town(Path(name)) as town:
        api = town.api()
        told = [_tell(town, writers, QUICK_SECONDS if quick else SECONDS) for writers in WRITERS]
        beats = _beat(town, api, QUICK_AGENTS if quick else AGENTS, QUICK_BEATS if quick else BEATS)
    console.print("Commits of one event each")
    for rate in told:
        _show(console, rate, "writers")
    console.print("Heartbeats of agents, through the api")
    _show(console, beats, "connections")
    return {"told": [_as_json(rate) for rate in told], "beats": _as_json(beats)}


def _tell(town: Town, writers: int, seconds: float) -> Rate:
    """Threads of this process, each commit on a connection of its own."""
    counts = [0] * writers
    before, began = processor_seconds(town), time.monotonic()

    def write(place: int) -> None:
        while time.monotonic() < began + seconds:
            with town.database.writing() as session:
                EventRepository(session).append(
                    "benchmark", "log", str(uuid4()), {"line": "told"}, now=clock(session)
                )
            counts[place] += 1

    threads = [threading.Thread(target=write, args=(place,)) for place in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    shares = processor_shares(before, processor_seconds(town), took)
    return Rate(writers, sum(counts), took, shares)


def _beat(town: Town, api: Service, agents: int, beats: int) -> Rate:
    ids = _registered(api, agents)
    requests = (
        request(api, f"/v1/agents/{ids[number % agents]}/heartbeat", {}) for number in range(beats)
    )
    before, began = processor_seconds(town), time.monotonic()
    asyncio.run(send(api, requests, CONNECTIONS))
    took = time.monotonic() - began
    return Rate(CONNECTIONS, beats, took, processor_shares(before, processor_seconds(town), took))


def _registered(api: Service, agents: int) -> list[str]:
    """Agents that nobody calls: they are only heard of."""
    info = info_to_json(make_chip("bench", preset("ideal"), 1).info)
    ids = [str(uuid4()) for _ in range(agents)]
    bodies = (
        {
            "agent_id": agent_id,
            "name": f"chip {number}",
            "url": "http://127.0.0.1:9",
            "secret": "s" * 32,
            "version": "1",
            "info": info,
        }
        for number, agent_id in enumerate(ids)
    )
    asyncio.run(send(api, (request(api, "/v1/agents", body) for body in bodies), 1))
    return ids


def _show(console: Console, rate: Rate, who: str) -> None:
    console.print(f"  {rate.at_a_time:3d} {who}: {rate.a_second:7.0f} a second")
    show_processor(console, rate.processor)


def _as_json(rate: Rate) -> dict[str, Any]:
    return rate._asdict() | {"a_second": rate.a_second}
