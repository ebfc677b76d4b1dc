"""Hosts, keys, rates and bodies: what is refused before a body is read."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.api.hosts import ServedHosts
from service.app import create_app
from service.request_errors import WrongHostError
from service.settings import Settings
from tests.recording import RecordingEngine
from tests.world import World, teacher_block, upload_headers

MIB = 2**20
CHIP = {"name": "bench 1", "settings": {"preset": "ideal", "seed": 1}}


class Body:
    """A body that is sent in parts; it counts those that were asked for."""

    def __init__(self, parts: int, size: int = 65536) -> None:
        self.parts, self.size, self.read = parts, size, 0

    async def receive(self) -> dict[str, Any]:
        """Return the next part, as a server hands it to an application."""
        self.read += 1
        more = self.read < self.parts
        return {"type": "http.request", "body": b" " * self.size, "more_body": more}


def send(world: World, path: str, body: Body, headers: dict[str, str]) -> int:
    """Send a POST whose body has no announced length; return the status."""
    given = {"host": "127.0.0.1", "transfer-encoding": "chunked"} | headers
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "state": {},
    }
    answers: list[dict[str, Any]] = []

    async def answer(message: dict[str, Any]) -> None:
        answers.append(message)

    app: Any = world.client.app
    asyncio.run(app(scope, body.receive, answer))
    return int(answers[0]["status"])


def authorized(world: World) -> dict[str, str]:
    return {"authorization": f"Bearer {world.key}", "content-type": "application/json"}


def test_without_a_key_no_byte_of_a_body_is_read(world: World) -> None:
    for path in ("/v1/jobs", "/v1/chips", "/v1/teachers", "/v1/agents"):
        body = Body(parts=2000)
        assert send(world, path, body, {"content-type": "application/json"}) == 401
        assert body.read == 0
        assert send(world, path, Body(1), authorized(world)) in (400, 422)  # with a key it is read


def test_a_body_of_unknown_length_is_read_to_its_limit(world: World) -> None:
    body = Body(parts=2000)
    assert send(world, "/v1/jobs", body, authorized(world)) == 413
    assert body.read * body.size <= MIB + 2 * body.size


def test_a_body_that_announces_too_much_is_refused(world: World) -> None:
    answer = world.client.post("/v1/chips", content=b" " * (MIB + 1))
    assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert world.client.post("/v1/chips", content=b" " * (MIB - 1)).status_code == 422


def test_an_upload_may_be_larger_than_other_bodies(world: World) -> None:
    block = teacher_block(name="large") + b"\0" * 2 * MIB
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert answer.status_code == 422  # it is read, and is no block of tensors
    assert "safetensors" in answer.text


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused(world: World, opening: str) -> None:
    text = opening * 100_000
    headers = {"Content-Type": "application/json"}
    answer = world.client.post("/v1/chips", content=text.encode(), headers=headers)
    assert answer.status_code in (400, 422)


def _serving(settings: Settings, **changed: int) -> Iterator[World]:
    few = settings.model_copy(update=changed)
    engine = RecordingEngine()
    with TestClient(create_app(few, engine)) as client:
        key = few.key_file.read_text().strip()
        client.headers["Authorization"] = f"Bearer {key}"
        yield World(client, engine, key)


@pytest.fixture
def strict(settings: Settings) -> Iterator[World]:
    """A service that accepts few wrong keys."""
    yield from _serving(settings, wrong_keys_per_minute=2)


@pytest.fixture
def unhurried(settings: Settings) -> Iterator[World]:
    """A service that accepts one request a second."""
    yield from _serving(settings, requests_per_s=1)


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(
    strict: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = TestClient(strict.client.app, headers={"Authorization": "Bearer tcal_wrong"})
    found = [stranger.get("/v1/chips") for _ in range(4)]
    assert [answer.status_code for answer in found] == [401, 401, 429, 429]
    assert found[-1].json()["type"] == "/problems/rate-limited"
    assert int(found[-1].headers["Retry-After"]) >= 1
    assert strict.client.get("/v1/chips").status_code == 200
    assert "tcal_wrong" not in capsys.readouterr().out


def test_sign_ins_that_fail_are_counted(strict: World) -> None:
    browser = TestClient(strict.client.app)
    for _ in range(3):
        assert browser.post("/v1/session", json={"key": "tcal_wrong"}).status_code == 401
    header = {"Authorization": "Bearer tcal_wrong"}
    assert browser.get("/v1/chips", headers=header).status_code == 429
    assert browser.post("/v1/session", json={"key": strict.key}).status_code == 204


def test_a_key_that_asks_too_often_has_to_wait(unhurried: World) -> None:
    found = [unhurried.client.get("/v1/chips").status_code for _ in range(20)]
    assert found[0] == 200
    assert 429 in found


def test_a_key_that_does_not_is_always_answered(world: World) -> None:
    assert {world.client.get("/v1/chips").status_code for _ in range(20)} == {200}


def test_an_address_without_a_key_has_to_wait_too(unhurried: World) -> None:
    stranger = TestClient(unhurried.client.app)
    assert 429 in [stranger.get("/healthz").status_code for _ in range(20)]


def test_a_request_for_another_host_is_refused(world: World) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost@evil"):
        assert world.client.get("/v1/chips", headers={"Host": host}).status_code == 421, host


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8765", "[::1]:8765", "localhost:1", "LOCALHOST.", "a.example"]
)
def test_own_names_and_addresses_are_served(host: str) -> None:
    ServedHosts(["a.example"]).check(host)
    with pytest.raises(WrongHostError):
        ServedHosts(["a.example"]).check("b.example")


def test_no_answer_may_be_taken_for_another_type(world: World) -> None:
    for path in ("/v1/chips", "/", "/login", "/static/style.css", "/nothing"):
        assert world.client.get(path).headers["X-Content-Type-Options"] == "nosniff", path
