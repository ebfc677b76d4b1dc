"""Submissions and heartbeats that one core of the service accepts in a second."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
from rich.console import Console
from sqlalchemy import func, select

from benchmarks.api.large_service import LargeService
from benchmarks.api.load import Cost, cost_of
from benchmarks.fleet.raw_requests import request
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip_info import info_to_json
from service.db.tables import Job

SUBMISSIONS, HEARTBEATS = 200.0, 1000.0  # of a core in a second, at least


class Extent(NamedTuple):
    """How much is measured."""

    chips: int  # that jobs are submitted for; as many agents
    submissions: int  # in each round
    heartbeats: int
    rounds: int


def measure(console: Console, service: LargeService, extent: Extent) -> dict[str, Any]:
    """Submit evaluations on simulated chips; send heartbeats of agents."""
    with httpx.Client(base_url=service.api.url, headers=_key(service), timeout=60) as client:
        chips = [_registered_chip(client, number) for number in range(extent.chips)]
        agents = [_registered_agent(client, number) for number in range(extent.chips)]
    before = _jobs(service)
    measured: dict[str, tuple[float, Callable[[int], list[bytes]], int, int]] = {
        "submissions": (
            SUBMISSIONS,
            lambda number: _submissions(service, chips, number),
            extent.submissions,
            202,
        ),
        "heartbeats": (
            HEARTBEATS,
            lambda number: _heartbeats(service, agents, number),
            extent.heartbeats,
            200,
        ),
    }
    found: dict[str, Any] = {"missed": []}
    console.print("Of one core, in a second")
    for name, (limit, make, number, status) in measured.items():
        costs = [
            cost_of(service.port, service.pid, make(number), status)
            for _ in range(1 + extent.rounds)
        ][1:]  # the first pays for what is loaded once
        found[name] = _told(console, name, costs, limit)
        if found[name]["a_core_second"] < limit:
            found["missed"].append(f"{found[name]['a_core_second']:.0f} {name} a second of a core")
    submitted = (1 + extent.rounds) * extent.submissions
    if _jobs(service) != before + submitted:
        found["missed"].append(f"{_jobs(service) - before} jobs of {submitted} submissions")
    return found


def _told(console: Console, name: str, costs: list[Cost], limit: float) -> dict[str, Any]:
    rate = statistics.median(cost.a_core_second for cost in costs)
    console.print(f"  {rate:7.0f} {name}, {1e3 / rate:.2f} ms each   (limit {limit:.0f})")
    return {"rounds": [cost._asdict() for cost in costs], "a_core_second": rate, "limit": limit}


def _submissions(service: LargeService, chips: list[str], number: int) -> list[bytes]:
    return [
        request(
            service.api,
            "/v1/jobs",
            {
                "kind": "evaluate",
                "chip_id": chips[index % len(chips)],
                "student_id": service.student,
            },
            {"Idempotency-Key": str(uuid4())},
        )
        for index in range(number)
    ]


def _heartbeats(service: LargeService, agents: list[str], number: int) -> list[bytes]:
    return [
        request(service.api, f"/v1/agents/{agents[index % len(agents)]}/heartbeat", {})
        for index in range(number)
    ]


def _registered_chip(client: httpx.Client, number: int) -> str:
    body = {"name": f"simulated {number}", "settings": {"preset": "pcm", "seed": number}}
    return str(client.post("/v1/chips", json=body).raise_for_status().json()["id"])


def _registered_agent(client: httpx.Client, number: int) -> str:
    """Register an agent that only sends heartbeats."""
    body = {
        "agent_id": str(uuid4()),
        "name": f"behind an agent {number}",
        "url": "http://127.0.0.1:8799",
        "secret": "s" * 32,
        "version": "1",
        "info": info_to_json(make_chip("bench", preset("ideal"), 1).info),
    }
    return str(client.post("/v1/agents", json=body).raise_for_status().json()["id"])


def _key(service: LargeService) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.api.key}"}


def _jobs(service: LargeService) -> int:
    with service.fleet.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0
