"""Access to the API: keys, scopes, browser sessions, and answers to those without."""

import os
import stat

import pytest
from fastapi.testclient import TestClient
from httpx2 import Client
from sqlalchemy import select

from service.app import create_app
from service.db.repositories.jobs import JobRepository
from service.db.schema import metadata
from service.db.session import Database
from service.settings import Settings
from tests.recording import RecordingEngine
from tests.world import World, teacher_block, upload_headers

pytestmark = pytest.mark.both_databases

CLOSED = ["/v1/jobs", "/v1/chips", "/v1/teachers", "/v1/keys", "/v1/openapi.json"]


def anonymous(world: World) -> Client:
    return TestClient(world.client.app)


def browser(world: World) -> Client:
    client = anonymous(world)
    assert client.post("/v1/session", json={"key": world.key}).status_code == 204
    return client


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer "])
def test_without_a_key_nothing_is_shown(world: World, path: str, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    answer = anonymous(world).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert world.client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(world: World, path: str) -> None:
    assert anonymous(world).get(path).json()["status"] == "ok"


def test_only_its_owner_can_read_the_first_key(settings: Settings) -> None:
    def start() -> str:
        with TestClient(create_app(settings, RecordingEngine())):
            return settings.key_file.read_text()

    first = start()
    assert stat.S_IMODE(os.stat(settings.key_file).st_mode) == 0o600
    assert start() == first  # made once
    assert first.strip() not in everything_in(settings.database)


def everything_in(url: str) -> str:
    """All rows of all tables, as text."""
    database = Database(url)
    with database.reading() as session:
        rows = [session.execute(select(table)).all() for table in metadata().sorted_tables]
    database.close()
    assert any(rows)
    return repr(rows)


def test_a_key_may_do_what_its_scopes_say(world: World) -> None:
    made = world.client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]}).json()
    reader = anonymous(world)
    reader.headers["Authorization"] = f"Bearer {made['key']}"
    assert reader.get("/v1/jobs").status_code == 200
    chip = {"name": "a", "settings": {"preset": "ideal", "seed": 1}}
    refused = reader.post("/v1/chips", json=chip)
    assert refused.status_code == 403
    assert refused.json()["needed"] == "operate"
    assert reader.get("/v1/keys").json()["needed"] == "admin"
    world.client.delete(f"/v1/keys/{made['id']}")
    assert reader.get("/v1/jobs").status_code == 401


def test_the_last_admin_key_cannot_be_revoked(world: World) -> None:
    (first,) = world.client.get("/v1/keys").json()["items"]
    assert "key" not in first
    assert world.client.delete(f"/v1/keys/{first['id']}").status_code == 409
    assert world.client.get("/v1/keys").status_code == 200


def test_a_browser_logs_in_with_the_key(world: World) -> None:
    assert anonymous(world).post("/v1/session", json={"key": "wrong"}).status_code == 401
    client = browser(world)
    assert client.get("/v1/jobs").status_code == 200
    assert client.cookies.get("tandemcal_session") != world.key
    client.delete("/v1/session", headers={"Sec-Fetch-Site": "same-origin"})
    assert client.get("/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "http://testserver"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_only_our_own_pages_may_change_things(
    world: World, headers: dict[str, str], status: int
) -> None:
    chip = {"name": "a", "settings": {"preset": "ideal", "seed": 1}}
    assert browser(world).post("/v1/chips", json=chip, headers=headers).status_code == status
    assert world.stored()["chips"] == (status == 201)


def test_unknown_paths_are_problems_too(world: World) -> None:
    for answer, slug in (
        (world.client.get("/v1/nothing"), "not-found"),
        (world.client.put("/v1/jobs"), "method-not-allowed"),
        (world.client.get("/v1/jobs", params={"limit": 0}), "invalid-request"),
        (world.client.get("/v1/jobs/nowhere"), "not-found"),
        (world.client.post("/v1/chips", content=b"{"), "invalid-request"),
    ):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == f"/problems/{slug}"
        assert answer.json()["status"] == answer.status_code


def test_an_internal_error_reveals_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a cell melted")

    monkeypatch.setattr(JobRepository, "list", fail)
    app = create_app(settings, RecordingEngine())
    with TestClient(app, raise_server_exceptions=False) as client:
        key = settings.key_file.read_text().strip()
        answer = client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal"
    assert "melted" not in answer.text
    logged = "".join(capfd.readouterr())
    assert "melted" in logged
    assert key not in logged


def test_an_upload_that_is_too_large_is_refused(settings: Settings) -> None:
    block = teacher_block()
    small = settings.model_copy(update={"max_upload_bytes": len(block) - 1})
    engine = RecordingEngine()
    with TestClient(create_app(small, engine)) as client:
        world = World(client, engine, settings.key_file.read_text().strip())
        client.headers["Authorization"] = f"Bearer {world.key}"
        before = world.stored()
        declared = client.post("/v1/teachers", content=block, headers=upload_headers(block))
        streamed = client.post(  # no Content-Length: the limit is found on the way
            "/v1/teachers", content=iter([block]), headers=upload_headers(block)
        )
        assert [declared.status_code, streamed.status_code] == [413, 413]
        assert declared.json()["limit"] == len(block) - 1
        assert world.stored() == before


def test_the_api_is_described_with_its_problems(world: World) -> None:
    described = world.client.get("/v1/openapi.json").json()
    answers = described["paths"]["/v1/jobs"]["post"]["responses"]
    assert set(answers) == {"202", "200", "4XX", "5XX"}  # 200: an earlier request made the job
    for wrong in ("4XX", "5XX"):
        assert list(answers[wrong]["content"]) == ["application/problem+json"]
    assert "detail" in described["components"]["schemas"]["Problem"]["properties"]
