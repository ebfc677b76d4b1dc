"""An agent registers, sends heartbeats, and says once why it cannot."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.journal import Journal
from service.bench.agent.registration import (
    RegistrationLoop,
    RegistrationSettings,
    registration_lifespan,
)
from service.bench.agent.server import create_agent
from tests.agents import serving

LIMITS = {"answer_s": 9.0, "reach_s": 3.0}
SETTINGS = RegistrationSettings(
    "http://service", "join-key", "bench-1", "http://bench:8770", LIMITS, Path("nowhere")
)
REGISTERED = {"id": "a-1", "chip_id": "c-1", "heartbeat_s": 4.0}


@pytest.fixture
def chip_server(tmp_path: Path) -> Iterator[ChipServer]:
    server = ChipServer(make_chip("bench-1", preset("pcm"), 7), Journal(tmp_path / "a.sqlite"))
    yield server
    server.close()


class Steps:
    """A registration loop, and a service that gives it these answers in turn."""

    def __init__(
        self,
        chip_server: ChipServer,
        *answers: httpx.Response | Exception,
        settings: RegistrationSettings = SETTINGS,
    ) -> None:
        self.requests: list[httpx.Request] = []
        self._answers, self._settings = iter(answers), settings
        self.pauses = asyncio.run(self._run(chip_server, len(answers)))

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    async def _run(self, chip_server: ChipServer, count: int) -> list[float]:
        loop = RegistrationLoop(chip_server, self._settings)
        transport = httpx.MockTransport(self._answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return [await loop.step(client) for _ in range(count)]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(**changed: object) -> httpx.Response:
    return httpx.Response(200, json=REGISTERED | changed)


def test_an_agent_registers_and_then_sends_heartbeats(chip_server: ChipServer) -> None:
    found = Steps(chip_server, ok(), ok(heartbeat_s=0.0), ok(heartbeat_s=1e9))
    assert found.paths == ["/v1/agents", *["/v1/agents/a-1/heartbeat"] * 2]
    assert found.pauses == [4.0, 0.1, 60.0]
    sent = json.loads(found.requests[0].content)
    about = chip_server.about
    assert (sent["agent_id"], sent["secret"], sent["token"]) == (about.agent_id, about.secret, 0)
    assert (sent["name"], sent["url"], sent["limits"]) == SETTINGS[2:5]
    assert sent["info"]["chip_id"] == "bench-1"


def test_an_agent_registers_again_at_once_if_it_was_forgotten(chip_server: ChipServer) -> None:
    found = Steps(chip_server, ok(), httpx.Response(404), ok(id="a-2"), ok(id="a-2"))
    assert found.paths[1:] == ["/v1/agents/a-1/heartbeat", "/v1/agents", "/v1/agents/a-2/heartbeat"]
    assert found.pauses[1] == 0.0


def test_an_agent_shows_the_credential_that_the_service_gave_it_last(
    chip_server: ChipServer, tmp_path: Path
) -> None:
    settings = SETTINGS._replace(credential_file=tmp_path / "credential")
    found = Steps(
        chip_server,
        ok(credential="first"),
        httpx.Response(404),
        ok(credential="second"),
        ok(),
        httpx.Response(404),
        ok(),
        settings=settings,
    )
    registrations = [request for request in found.requests if request.url.path == "/v1/agents"]
    shown = [json.loads(request.content).get("credential") for request in registrations]
    assert shown == [None, "first", "second"]


REFUSED = httpx.Response(403, json={"detail": "The key lacks the scope agent."})
REASONS: dict[str, tuple[httpx.Response | Exception, float, str]] = {
    "nobody answers": (httpx.ConnectError("refused"), 2.0, "does not answer (refused)"),
    "an error without text": (httpx.ReadTimeout(""), 2.0, "does not answer (ReadTimeout)"),
    "a server error": (httpx.Response(503, text="busy"), 2.0, "refuses: status 503"),
    "a refusal": (REFUSED, 15.0, "refuses: The key lacks the scope agent."),
    "not found before it registered": (httpx.Response(404, json=[]), 15.0, "refuses: status 404"),
    "a long refusal of two lines": (
        httpx.Response(400, json={"detail": "a\nb" + "x" * 1000}),
        15.0,
        "refuses: a b" + "x" * 297 + "...'",
    ),
    "no JSON": (httpx.Response(200, text="<html>"), 15.0, "cannot be read"),
    "no interval": (httpx.Response(200, json={"id": "a-1"}), 15.0, "cannot be read"),
}


@pytest.mark.parametrize(("answer", "pause", "reason"), REASONS.values(), ids=REASONS.keys())
def test_what_stands_against_it_is_logged_once(
    chip_server: ChipServer,
    capsys: pytest.CaptureFixture[str],
    answer: httpx.Response | Exception,
    pause: float,
    reason: str,
) -> None:
    found = Steps(chip_server, answer, answer, ok(), ok())
    assert found.pauses == [pause, pause, 4.0, 4.0]
    assert found.paths[:3] == ["/v1/agents"] * 3
    written = capsys.readouterr().out
    assert written.count("jobs for this chip wait") == written.count(reason) == 1
    assert written.count("chip agent: registered") == 1


def test_a_served_agent_registers_and_stops_with_its_server(chip_server: ChipServer) -> None:
    seen: list[str] = []
    heartbeat = threading.Event()
    service = FastAPI()

    @service.post("/v1/agents")
    def register() -> dict[str, object]:
        seen.append("registered")
        return REGISTERED | {"heartbeat_s": 0.1}

    @service.post("/v1/agents/a-1/heartbeat")
    def beat() -> dict[str, object]:
        heartbeat.set()
        return REGISTERED | {"heartbeat_s": 0.1}

    with serving(service) as url:
        lifespan = registration_lifespan(chip_server, SETTINGS._replace(service=url))
        with serving(create_agent(chip_server, "secret", beside=lifespan)):
            assert heartbeat.wait(10.0)
        heartbeat.clear()
        assert not heartbeat.wait(0.5)  # five heartbeats would have come
    assert seen == ["registered"]
