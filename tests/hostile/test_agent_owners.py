"""Who may replace an agent: its own key, its own credential, an administrator; nobody else."""

from datetime import timedelta
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select, update

from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.api.context import utc_now
from service.db.agent_tables import Agent
from tests.world import World

pytestmark = pytest.mark.both_databases

HOUR = timedelta(hours=1)
INFO = info_to_json(info_of(preset("pcm"), "bench 1"))
HIJACK = {"url": "http://10.9.9.9:8770", "secret": "x" * 43}


def new_key(world: World, *scopes: str) -> dict[str, str]:
    body = {"name": "a lab", "scopes": scopes or ["agent"]}
    made = world.client.post("/v1/keys", json=body).json()
    return {"Authorization": f"Bearer {made['key']}"}


def register(world: World, headers: dict[str, str], **changed: Any) -> Response:
    body: dict[str, Any] = {"agent_id": "agent-1", "name": "bench 1", "url": "http://10.1.2.3:8770"}
    body |= {"secret": "s" * 43, "version": "1", "info": INFO}
    return world.client.post("/v1/agents", json=body | changed, headers=headers)


def stored(world: World) -> tuple[str, str]:
    """The address and the secret of the agent."""
    with world.context.database.reading() as session:
        row = session.execute(select(Agent.url, Agent.encrypted_secret)).one()
    return row.url, str(world.context.cipher.decrypt(row.encrypted_secret))


def silence(world: World) -> None:
    with world.context.database.writing() as session:
        session.execute(update(Agent).values(alive_until=utc_now() - HOUR))


def test_another_key_replaces_neither_the_agent_nor_its_chip(world: World) -> None:
    own, other = new_key(world), new_key(world)
    assert register(world, own).status_code == 200
    before = stored(world)
    for _ in range(2):
        for wrong in ({}, {"credential": "c" * 43}, {"secret": before[1]}):
            assert register(world, other, **(HIJACK | wrong)).status_code == 403
        beat = world.client.post("/v1/agents/agent-1/heartbeat", headers=other)
        release = world.client.delete("/v1/agents/agent-1", headers=other)
        assert (beat.status_code, release.status_code) == (403, 403)
        silence(world)
    refused = register(world, other, **HIJACK, agent_id="agent-2")
    assert refused.status_code == 403
    assert "belongs to another API key" in refused.json()["detail"]
    assert stored(world) == before
    assert register(world, own, **HIJACK, agent_id="agent-2").status_code == 200  # the control


def test_its_credential_lets_an_agent_register_under_a_new_key(world: World) -> None:
    first, second = new_key(world), new_key(world)
    credential = register(world, first).json()["credential"]
    assert register(world, second, credential=credential).status_code == 200
    heartbeat = "/v1/agents/agent-1/heartbeat"
    assert world.client.post(heartbeat, headers=second).status_code == 200
    assert world.client.post(heartbeat, headers=first).status_code == 403


def test_a_credential_is_replaced_at_every_registration(world: World) -> None:
    key, other = new_key(world), new_key(world)
    first = register(world, key).json()["credential"]
    lost = register(world, key, credential=first).json()["credential"]
    second = register(world, key, credential=first).json()["credential"]  # a crash before storing
    assert len({first, lost, second}) == 3
    third = register(world, key, credential=second).json()["credential"]
    for old in (first, lost):
        assert register(world, other, **HIJACK, credential=old).status_code == 403
    assert register(world, other, credential=third).status_code == 200


def test_a_key_alone_never_replaces_an_agent(world: World) -> None:
    """One join key may be that of a whole fleet."""
    key = new_key(world)
    credential = register(world, key).json()["credential"]
    before = stored(world)
    assert register(world, key, **HIJACK).status_code == 403
    assert stored(world) == before
    assert register(world, key).status_code == 200  # the control: an answer that was lost
    credential = register(world, key).json()["credential"]
    assert register(world, key, **HIJACK, credential=credential).status_code == 200


def test_a_secret_does_not_replace_an_agent_that_has_shown_its_credential(world: World) -> None:
    key = new_key(world)
    credential = register(world, key).json()["credential"]
    assert register(world, key, credential=credential).status_code == 200
    assert register(world, key).status_code == 403
    assert register(world, key, credential=credential).status_code == 200  # the control


def test_an_administrator_releases_an_agent_and_any_other_takes_its_chip(world: World) -> None:
    own, other = new_key(world), new_key(world)
    chip_id = register(world, own).json()["chip_id"]
    found = world.client.get(f"/v1/chips/{chip_id}/agent").json()
    assert (found["id"], "secret" in found, "credential" in found) == ("agent-1", False, False)
    assert world.client.delete(f"/v1/agents/{found['id']}").json()["chip_id"] == chip_id
    assert world.client.get(f"/v1/chips/{chip_id}/agent").status_code == 404
    assert world.client.get(f"/v1/chips/{chip_id}").json()["state"] == "offline"
    assert register(world, other, agent_id="agent-2").json()["chip_id"] == chip_id


def test_an_owner_releases_its_agent(world: World) -> None:
    own, reader = new_key(world), new_key(world, "read", "operate")
    register(world, own)
    assert world.client.delete("/v1/agents/agent-1", headers=reader).status_code == 403
    assert world.client.delete("/v1/agents/agent-1", headers=own).status_code == 200
    assert world.client.delete("/v1/agents/agent-1", headers=own).status_code == 404


def test_an_agent_of_an_earlier_version_is_known_by_its_secret(world: World) -> None:
    own, other = new_key(world), new_key(world)
    register(world, own)
    with world.context.database.writing() as session:
        session.execute(update(Agent).values(key_id=None, credential_sha256=None))
    assert register(world, other, **HIJACK).status_code == 403
    silence(world)
    assert register(world, other, **HIJACK, agent_id="agent-2").status_code == 403
    for key in (own, other):  # who only knows its id does not get it
        assert world.client.post("/v1/agents/agent-1/heartbeat", headers=key).status_code == 404
        assert world.client.delete("/v1/agents/agent-1", headers=key).status_code == 404
    assert register(world, own).status_code == 200
    assert world.client.post("/v1/agents/agent-1/heartbeat", headers=own).status_code == 200
    assert world.client.post("/v1/agents/agent-1/heartbeat", headers=other).status_code == 403


def test_no_credential_is_stored_or_shown_again(world: World) -> None:
    key = new_key(world)
    credential = register(world, key).json()["credential"]
    beat = world.client.post("/v1/agents/agent-1/heartbeat", headers=key)
    assert (beat.status_code, beat.json()["credential"]) == (200, None)
    with world.context.database.reading() as session:
        row = session.execute(select(Agent.__table__)).one()
    assert credential not in repr(row)


LONG = "http://10.1.2.3:8770/" + "a" * 500
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a user in the address": ({"url": "http://root:secret@10.1.2.3:8770"}, "/url"),
    "a query": ({"url": "http://10.1.2.3:8770/?a=b"}, "/url"),
    "a fragment": ({"url": "http://10.1.2.3:8770/#a"}, "/url"),
    "a long address": ({"url": LONG}, "/url"),
    "an address that grows": ({"url": "http://10.1.2.3:8770/" + "é" * 200}, "/url"),
    "an id of two lines": ({"agent_id": "a\nb"}, "/agent_id"),
    "a model of two lines": ({"info": INFO | {"model": "a\nb"}}, "/info"),
    "a long model": ({"info": INFO | {"model": "m" * 201}}, "/info"),
    "a hidden letter in a model": ({"info": INFO | {"model": "a\u202eb"}}, "/info"),
    "a long name": ({"name": "n" * 201}, "/name"),
    "a long version": ({"version": "1" * 61}, "/version"),
    "a long secret": ({"secret": "s" * 201}, "/secret"),
    "a long credential": ({"credential": "s" * 201}, "/credential"),
}


def test_every_text_of_an_agent_is_bounded(world: World) -> None:
    for what, (wrong, pointer) in WRONG.items():
        answer = register(world, {}, **wrong)
        assert answer.status_code == 422, what
        assert answer.json()["errors"][0]["pointer"] == pointer, what
    assert world.stored()["agents"] == 0
    assert register(world, {}, info=INFO | {"model": "m" * 200}).status_code == 200
