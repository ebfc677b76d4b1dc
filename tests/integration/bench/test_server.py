"""The agent's HTTP server: who may call, and which requests it refuses."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.journal import Journal
from service.bench.agent.server import create_agent
from service.bench.protocol import messages
from service.bench.protocol.wire import Message
from service.digests import content_digest
from tests.agents import ServedAgent
from tests.integration.bench.http_calls import call, clock


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic wrong"},
        {"Authorization": "Bearer ü".encode("latin-1").decode("latin-1")},
    ],
)
def test_without_its_secret_an_agent_does_nothing(
    agent: ServedAgent, headers: dict[str, str]
) -> None:
    settle = messages.settle_request(100.0)
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert call(agent, "settle", settle, **encoded).status_code == 401  # type: ignore[arg-type]
    assert clock(agent) == 0.0
    assert call(agent, "settle", settle).status_code == 200
    assert clock(agent) == 100.0


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Digest": content_digest(b"something else")},
        {"Lease_Token": "-1"},
        {"Lease_Token": "many"},
        {"Request_Id": ""},
    ],
)
def test_a_call_that_arrives_damaged_is_not_done(
    agent: ServedAgent, headers: dict[str, str]
) -> None:
    assert call(agent, "settle", messages.settle_request(100.0), **headers).status_code == 400
    assert clock(agent) == 0.0


SENSELESS: dict[str, tuple[str, Message]] = {
    "seconds are missing": ("settle", Message()),
    "seconds of words": ("settle", Message({"seconds": "long"})),
    "an unknown verb": ("shred", Message()),
    "a placement of nothing": ("place", Message({"placement": "{}"})),
    "an unknown observable": (
        "run",
        Message({"steps": 1, "record": {"hidden": "smell"}}, {"values": torch.zeros(1, 6)}),
    ),
}


@pytest.mark.parametrize(("verb", "message"), SENSELESS.values(), ids=SENSELESS.keys())
def test_a_call_that_makes_no_sense_is_refused(
    agent: ServedAgent, verb: str, message: Message
) -> None:
    assert call(agent, verb, message).status_code == 400


def test_an_agent_says_that_it_is_there_and_takes_calls_by_post(agent: ServedAgent) -> None:
    assert httpx.get(f"{agent.address.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{agent.address.url}/v1/chip/info").status_code == 405


def test_a_call_above_1_gib_is_refused_before_it_is_read_to_its_end(tmp_path: Path) -> None:
    part, sent = bytes(1 << 26), []
    parts = iter(range(100))

    async def receive() -> dict[str, Any]:
        next(parts)
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = {"authorization": "Bearer secret", "lease-token": "1", "request-id": "one"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chip/run",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    chip_server = ChipServer(make_chip("bench-1", preset("pcm"), 7), Journal(tmp_path / "a.sqlite"))
    app: Any = create_agent(chip_server, "secret")
    asyncio.run(app(scope, receive, send))
    chip_server.close()
    assert sent[0]["status"] == 413
    assert next(parts) == 17
