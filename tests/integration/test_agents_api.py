"""Agents register, send heartbeats and fall silent; effects on their chips."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.app import create_app
from service.db.tables import Chip
from service.settings import Settings
from service.states import ChipHealth
from tests.integration.registered_agents import (
    SECRET,
    chip,
    events,
    fall_silent,
    introduction,
    register,
    registered,
)
from tests.recording import RecordingEngine
from tests.world import World

pytestmark = pytest.mark.both_databases


def test_registering_an_agent_registers_its_chip(world: World) -> None:
    answer = register(world)
    assert answer.json()["heartbeat_s"] == world.context.settings.agent_heartbeat_s
    found = chip(world, answer.json()["chip_id"])
    assert (found["name"], found["backend"], found["state"]) == ("bench 1", "http", "idle")
    assert found["info"]["weight_code_max"] == 63
    assert found["info"]["chip_id"] == found["id"]


def test_an_agent_that_starts_again_keeps_its_chip(world: World) -> None:
    first = registered(world)
    world.client.patch(f"/v1/chips/{first}", json={"name": "renamed"})
    again = registered(world, url="http://10.1.2.3:9999", secret="t" * 43)
    assert again == first
    assert chip(world, first)["name"] == "renamed"
    assert world.client.get("/v1/agents/agent-1").json()["url"] == "http://10.1.2.3:9999"
    assert len(world.client.get("/v1/chips").json()["items"]) == 1


def test_no_answer_shows_the_secret(world: World) -> None:
    chip_id = registered(world)
    paths = (f"/v1/chips/{chip_id}", "/v1/chips", "/v1/agents/agent-1", "/v1/audit", "/")
    for path in paths:
        assert SECRET not in world.client.get(path).text
    assert SECRET not in register(world).text
    assert SECRET not in register(world, info={}).text


def test_two_agents_do_not_share_a_chip(world: World) -> None:
    chip_id = registered(world)
    assert register(world, agent_id="agent-2").status_code == 409
    fall_silent(world)
    assert registered(world, agent_id="agent-2") == chip_id
    assert register(world, agent_id="agent-1").status_code == 409


def test_a_simulated_chip_is_not_taken_over(world: World) -> None:
    world.register_chip("bench 1")
    assert register(world).status_code == 409


def test_a_retired_chip_stays_retired(world: World) -> None:
    chip_id = registered(world)
    world.client.delete(f"/v1/chips/{chip_id}")
    assert register(world).status_code == 409
    assert chip(world, chip_id)["health"] == "retired"


def test_a_chip_behind_an_agent_is_not_registered_by_hand(world: World) -> None:
    body = {"name": "by hand", "backend": "http", "settings": {"url": "http://x"}}
    answer = world.client.post("/v1/chips", json=body)
    assert answer.status_code == 422
    assert "tandemcal agent" in answer.json()["errors"][0]["message"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({"url": "bench-1"}, "/url"),
    "an address of files": ({"url": "file:///etc/passwd"}, "/url"),
    "a short secret": ({"secret": "short"}, "/secret"),
    "a chip that is nothing": ({"info": {}}, "/info"),
    "a chip without tiles": (
        {"info": info_to_json(info_of(preset("pcm"), "x")._replace(tiles=0))},
        "/info",
    ),
    "a negative token": ({"token": -1}, "/token"),
    "a token without end": ({"token": 2**31}, "/token"),
    "an endless answer": ({"limits": {"answer_s": 1e9}}, "/limits/answer_s"),
    "something unknown": ({"colour": "red"}, "/colour"),
}


@pytest.mark.parametrize(("changes", "pointer"), BAD.values(), ids=BAD.keys())
def test_an_invalid_registration_is_refused(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    before = world.stored()
    answer = register(world, **changes)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert world.stored() == before


def test_a_silent_agent_takes_its_chip_offline_and_a_heartbeat_brings_it_back(
    world: World,
) -> None:
    chip_id = registered(world)
    fall_silent(world)
    assert chip(world, chip_id)["state"] == "offline"
    assert "offline" in world.client.get("/fragments/fleet").text
    assert world.client.post("/v1/agents/agent-1/heartbeat").status_code == 200
    assert chip(world, chip_id)["state"] == "idle"
    assert events(world, chip_id).count("chip.online") == 1


def test_an_offline_chip_counts_as_offline_and_not_as_it_was_last(world: World) -> None:
    chip_id = registered(world)
    with world.context.database.writing() as session:
        session.execute(update(Chip).where(Chip.id == chip_id).values(health=ChipHealth.GOOD))
    heard = world.client.get("/fragments/fleet").text
    assert ("1 chip: 1 good." in heard, 'class="health good"' in heard) == (True, True)
    fall_silent(world)
    silent = world.client.get("/fragments/fleet").text
    assert ("1 chip: 1 offline." in silent, 'class="health good"' in silent) == (True, False)
    assert world.client.delete(f"/v1/chips/{chip_id}").status_code == 200
    assert "offline" not in world.client.get("/fragments/fleet").text


def test_the_heartbeat_of_an_unknown_agent_gets_404(world: World) -> None:
    assert world.client.post("/v1/agents/agent-1/heartbeat").status_code == 404


def test_agents_need_their_scope_and_can_do_nothing_else(world: World) -> None:
    def key(scope: str) -> dict[str, str]:
        made = world.client.post("/v1/keys", json={"name": scope, "scopes": [scope]}).json()
        return {"Authorization": f"Bearer {made['key']}"}

    for scope, status in (("read", 403), ("operate", 403), ("agent", 200)):
        answer = world.client.post("/v1/agents", json=introduction(), headers=key(scope))
        assert answer.status_code == status
    assert world.client.get("/v1/chips", headers=key("agent")).status_code == 403
    assert world.client.post("/v1/agents", json=introduction(), headers={}).status_code == 200
    unknown = {"Authorization": "Bearer wrong"}
    assert world.client.post("/v1/agents", json=introduction(), headers=unknown).status_code == 401


def test_a_join_key_opens_registration_until_it_is_changed(settings: Settings) -> None:
    def status(configured: str, used: str) -> int:
        changed = settings.model_copy(update={"join_key": _secret(configured)})
        with TestClient(create_app(changed, RecordingEngine())) as client:
            headers = {"Authorization": f"Bearer {used}"}
            return client.post("/v1/agents", json=introduction(), headers=headers).status_code

    first, second = "first join key of the lab", "second join key of the lab"
    assert status(first, first) == 200
    assert status(first, first) == 200
    assert status(first, second) == 401
    assert status(second, second) == 200
    assert status(second, first) == 401


def _secret(value: str) -> Any:
    return Settings(data_dir=Path("x"), join_key=value).join_key
