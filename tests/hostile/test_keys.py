"""Keys end when they expire or are revoked; their last use is kept; no cache keeps an answer."""

import hashlib
import json
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from structlog.testing import capture_logs
from typer.testing import CliRunner

from service.api.context import utc_now
from service.api.key_use import KeyUse
from service.app import create_app
from service.cli.main import app
from service.db.access_tables import ApiKey
from service.db.repositories.keys import KeyRepository
from service.db.session import Database
from service.private_files import write_private
from service.settings import Settings
from service.startup import prepare
from tests.agents import serving
from tests.recording import RecordingEngine
from tests.world import World


def make_key(world: World, *scopes: str, **more: Any) -> Any:
    body = {"name": "somebody", "scopes": scopes or ("read",)} | more
    answer = world.client.post("/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def holder(world: World, key: str) -> TestClient:
    return TestClient(world.client.app, headers={"Authorization": f"Bearer {key}"})


def shown(world: World, key_id: str) -> Any:
    keys = world.client.get("/v1/keys").json()["items"]
    return next(key for key in keys if key["id"] == key_id)


def set_times(database: Database, key_id: str, **times: datetime | None) -> None:
    with database.writing() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(**times))


def test_a_key_is_stored_as_its_digest_and_shown_once(world: World) -> None:
    made = make_key(world)
    with world.context.database.reading() as session:
        rows = repr(session.execute(select(ApiKey.__table__)).all())
    assert hashlib.sha256(made["key"].encode()).hexdigest() in rows
    assert made["key"] not in rows
    listed = world.client.get("/v1/keys").text
    assert made["id"] in listed
    assert made["key"] not in listed


@pytest.mark.both_databases
def test_a_key_that_has_expired_is_refused(world: World) -> None:
    hour = timedelta(hours=1)
    made = make_key(world, expires_at=(utc_now() + hour).isoformat())
    client = holder(world, made["key"])
    assert client.get("/v1/jobs").status_code == 200
    assert TestClient(world.client.app).post("/v1/session", json={"key": made["key"]}).is_success
    set_times(world.context.database, made["id"], expires_at=utc_now() - hour)
    world.context.credentials.forget()
    assert client.get("/v1/jobs").status_code == 401
    late = TestClient(world.client.app).post("/v1/session", json={"key": made["key"]})
    assert late.status_code == 401


def test_a_key_expires_while_it_is_remembered(world: World) -> None:
    soon = utc_now() + timedelta(seconds=0.4)
    client = holder(world, make_key(world, expires_at=soon.isoformat())["key"])
    found = [client.get("/v1/jobs").status_code]
    while utc_now() <= soon:
        pass
    assert [*found, client.get("/v1/jobs").status_code] == [200, 401]


def test_a_key_that_would_have_expired_already_is_not_made(world: World) -> None:
    body = {"name": "late", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}
    answer = world.client.post("/v1/keys", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/expires_at")


def test_the_last_admin_key_is_the_last_that_is_still_valid(world: World) -> None:
    first = world.client.get("/v1/keys").json()["items"][0]["id"]
    other = make_key(world, "admin", expires_at=(utc_now() + timedelta(days=1)).isoformat())
    set_times(world.context.database, other["id"], expires_at=utc_now() - timedelta(days=1))
    assert world.client.delete(f"/v1/keys/{first}").status_code == 409
    set_times(world.context.database, other["id"], expires_at=None)
    assert world.client.delete(f"/v1/keys/{first}").status_code == 200


def test_a_start_without_a_valid_admin_key_makes_one(settings: Settings) -> None:
    first = prepare(settings)
    assert first is not None
    assert prepare(settings) is None
    database = Database(settings.database)
    with database.writing() as session:
        session.execute(update(ApiKey).values(expires_at=utc_now() - timedelta(days=1)))
    database.close()
    assert prepare(settings) not in (None, first)
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600


@pytest.mark.both_databases
def test_the_last_use_of_a_key_is_kept_but_not_written_at_each_request(world: World) -> None:
    made, use = make_key(world), world.context.credentials.use
    assert shown(world, made["id"])["last_used_at"] is None
    before = utc_now()
    holder(world, made["key"]).get("/v1/jobs")
    assert shown(world, made["id"])["last_used_at"] is None  # it waits in memory
    use.write()
    used = datetime.fromisoformat(shown(world, made["id"])["last_used_at"])
    assert before <= used <= utc_now()
    stale = KeyUse(world.context.database)  # of a process that wrote late
    stale.note(made["id"], before - timedelta(days=1))
    stale.write()
    assert datetime.fromisoformat(shown(world, made["id"])["last_used_at"]) == used


def test_a_last_use_is_written_when_the_service_stops(settings: Settings) -> None:
    with TestClient(create_app(settings, RecordingEngine())) as client:
        key = settings.key_file.read_text().strip()
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    database = Database(settings.database)
    with database.reading() as session:
        assert session.query(ApiKey).one().last_used_at is not None
    database.close()


def test_a_use_that_cannot_be_written_stops_neither_the_task_nor_the_service(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault")

    engine = RecordingEngine()
    with TestClient(create_app(settings, engine)) as client, capture_logs() as logs:
        key = settings.key_file.read_text().strip()
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
        monkeypatch.setattr(KeyRepository, "note_use", fail)
        client.app.state.context.credentials.use.write()  # type: ignore[attr-defined]
        assert any("their last use cannot be written" in line["event"] for line in logs)
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
        assert engine.running
    assert not engine.running


def test_the_service_stops_its_engine_though_another_part_fails_to_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("a fault")

    engine = RecordingEngine()
    monkeypatch.setattr(KeyUse, "stop", fail)
    with pytest.raises(ValueError, match="a fault"), TestClient(create_app(settings, engine)):
        assert engine.running
    assert not engine.running


def test_no_cache_keeps_keys_and_pages(world: World) -> None:
    world.client.post("/v1/session", json={"key": world.key})
    for path in ("/v1/keys", "/v1/jobs", "/", "/login", "/fragments/fleet", "/nothing"):
        assert world.client.get(path).headers["Cache-Control"] == "no-store", path
    made = world.client.post("/v1/keys", json={"name": "a", "scopes": ["read"]})
    assert made.headers["Cache-Control"] == "no-store"
    style = world.client.get("/static/tandemcal.css")  # the control: what may be kept says so
    assert style.headers["Cache-Control"] == "no-cache"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and first key of a service on a socket."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with serving(create_app(settings, RecordingEngine())) as url:
        yield url, settings.key_file.read_text().strip()


def command(address: tuple[str, str], *arguments: str) -> Any:
    environment = {"TANDEMCAL_URL": address[0], "TANDEMCAL_KEY": address[1], "COLUMNS": "80"}
    return CliRunner().invoke(app, ["keys", *arguments], env=environment)


def test_keys_are_made_listed_and_revoked_on_the_command_line(
    address: tuple[str, str], tmp_path: Path
) -> None:
    name, file = "a very long name of a key " * 4, tmp_path / "key"
    arguments = ("make", name, "--scope", "read", "--scope", "operate", "--days", "30")
    made = command(address, *arguments, "--out", str(file))
    assert made.exit_code == 0, made.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("tcal_")
    assert file.read_text().strip() not in made.output
    listed = command(address, "list")
    assert "until" in listed.output
    assert max(map(len, listed.output.splitlines())) <= 80
    found = json.loads(command(address, "list", "--json").output)
    (one,) = [key for key in found if key["name"] == name.strip() or key["name"] == name]
    assert one["scopes"] == ["read", "operate"]
    revoked = command(address, "revoke", one["id"][-8:])
    assert revoked.exit_code == 0, revoked.output
    assert command(address, "list").output.count("revoked") == 1


def test_a_key_is_not_printed_where_a_log_may_keep_it(address: tuple[str, str]) -> None:
    made = command(address, "make", "ci", "--scope", "read")
    assert (made.exit_code, "--out" in made.output) == (1, True)
    assert "tcal_" not in made.output
    asked = command(address, "make", "ci", "--scope", "read", "--json")  # who asks gets it
    assert json.loads(asked.output)["key"].startswith("tcal_")


def test_a_key_that_cannot_be_written_is_revoked(address: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "folder", tmp_path / "nowhere" / "key"):
        made = command(address, "make", f"for {out.name}", "--scope", "read", "--out", str(out))
        said = " ".join(made.output.split())
        assert (made.exit_code, "so it was revoked" in said) == (1, True)
        found = json.loads(command(address, "list", "--json").output)
        (one,) = [key for key in found if key["name"] == f"for {out.name}"]
        assert one["revoked_at"] is not None
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]  # nothing is left behind


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private(tmp_path / "key", "first")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_private(tmp_path / "key", "second")
    assert (tmp_path / "key").read_text() == "first\n"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "1e300", "36501"])
def test_days_that_no_key_may_have_are_refused_in_a_sentence(days: str) -> None:
    made = command(("http://127.0.0.1:9", "key"), "make", "a", "--scope", "read", "--days", days)
    assert made.exit_code == 2  # before anything is asked of the service
    assert "at most 36500" in made.output.replace("\n", " ")


def test_a_name_of_two_keys_revokes_none(address: tuple[str, str]) -> None:
    for _ in range(2):
        command(address, "make", "twin", "--scope", "read", "--json")
    refused = command(address, "revoke", "twin")
    assert (refused.exit_code, "2 keys" in refused.output) == (1, True)
    assert command(address, "revoke", "nobody").exit_code == 1
