"""Agents that register through the API, fall silent, and have jobs."""

from datetime import timedelta
from typing import Any

from httpx2 import Response
from sqlalchemy import update

from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.api.context import utc_now
from service.db.agent_tables import Agent
from service.db.repositories.events import EventRepository
from tests.world import World

SECRET = "s" * 43


MINUTE = timedelta(minutes=1)


def introduction(**changes: Any) -> dict[str, Any]:
    """Build the body with which an agent registers."""
    return {
        "agent_id": "agent-1",
        "name": "bench 1",
        "url": "http://10.1.2.3:8770",
        "secret": SECRET,
        "version": "0.1.0",
        "info": info_to_json(info_of(preset("pcm"), "bench 1")),
        "token": 0,
        **changes,
    }


def register(world: World, **changes: Any) -> Response:
    return world.client.post("/v1/agents", json=introduction(**changes))


def registered(world: World, **changes: Any) -> str:
    """Return the id of the agent's chip."""
    answer = register(world, **changes)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["chip_id"])


def chip(world: World, chip_id: str) -> Any:
    return world.client.get(f"/v1/chips/{chip_id}").json()


def fall_silent(world: World) -> None:
    """Move the last heartbeat of the agent far into the past."""
    then = utc_now() - 10 * MINUTE
    with world.context.database.writing() as session:
        session.execute(update(Agent).values(heartbeat_at=then - MINUTE, alive_until=then))


def events(world: World, chip_id: str) -> list[str]:
    with world.context.database.reading() as session:
        return [event.type for event in EventRepository(session).after(0, chip_id=chip_id)]


def submit(world: World, chip_id: str, **more: Any) -> Response:
    body = {"kind": "evaluate", "chip_id": chip_id, "student_id": world.trained_student(), **more}
    return world.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "one"})
