"""Whoever has the database or a backup does not have the secrets of the agents."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import SecretStr
from sqlalchemy import create_engine, select, text, update
from typer.testing import CliRunner

from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.api.context import utc_now
from service.app import create_app
from service.backup.backup import back_up
from service.cli.main import app
from service.db.agent_tables import Agent
from service.db.session import Database
from service.errors import AgentSecretError
from service.jobs.attempts.describe import agent_settings, executor_config
from service.secret_cipher import SecretCipher
from service.settings import Settings
from service.startup import prepare
from tests.recording import RecordingEngine
from tests.world import World

SECRET = "a-secret-that-an-agent-chose-for-itself-0001"
BODY: dict[str, Any] = {
    "agent_id": "agent-1",
    "name": "bench 1",
    "url": "http://10.1.2.3:8770",
    "secret": SECRET,
    "version": "1",
    "info": info_to_json(info_of(preset("pcm"), "bench 1")),
}
both_databases = pytest.mark.both_databases


def register(client: TestClient, **changed: Any) -> Response:
    return client.post("/v1/agents", json=BODY | changed)


def agent_key(world: World) -> dict[str, str]:
    made = world.client.post("/v1/keys", json={"name": "bench", "scopes": ["agent"]}).json()
    return {"Authorization": f"Bearer {made['key']}"}


def stored_agent(settings: Settings) -> Agent:
    database = Database(settings.database)
    with database.reading() as session:
        found = session.scalars(select(Agent)).one()
    database.close()
    return found


def files_of(settings: Settings) -> Iterator[Path]:
    """The files of the database: beside its log those of SQLite, those of the tables else."""
    if settings.database.startswith("sqlite"):
        yield from settings.data_dir.glob("tandemcal.sqlite*")
        return
    engine = create_engine(settings.database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        root = str(connection.scalar(text("SHOW data_directory")))
        number = connection.scalar(
            text("SELECT oid FROM pg_database WHERE datname = current_database()")
        )
    engine.dispose()
    yield from (Path(root) / "base" / str(number)).iterdir()


def is_in_files(needle: str, settings: Settings) -> bool:
    return any(needle.encode() in path.read_bytes() for path in files_of(settings))


def leave_in_clear(settings: Settings) -> None:
    """As an earlier release stored it, over some heartbeats."""
    database = Database(settings.database)
    for number in range(20):
        with database.writing() as session:
            changed = {"secret": SECRET, "encrypted_secret": None, "version": "1" * number}
            session.execute(update(Agent).values(heartbeat_at=utc_now(), **changed))
    database.close()


@both_databases
def test_a_stolen_database_holds_neither_secret_nor_key(world: World) -> None:
    settings = world.context.settings
    assert register(world.client).status_code == 200
    assert not is_in_files(SECRET, settings)
    (key,) = settings.secret_key_file.read_text().split()
    assert not is_in_files(key, settings)
    assert world.context.cipher.decrypt(stored_agent(settings).encrypted_secret) == SECRET
    leave_in_clear(settings)
    assert is_in_files(SECRET, settings)  # the control


def test_a_stolen_backup_holds_neither_secret_nor_key(world: World, tmp_path: Path) -> None:
    settings = world.context.settings
    register(world.client)

    def backup_holds(needle: str) -> bool:
        back_up(settings, tmp_path / "backup")
        files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
        return any(needle.encode() in path.read_bytes() for path in files)

    (key,) = settings.secret_key_file.read_text().split()
    assert not backup_holds(SECRET)
    assert not backup_holds(key)
    leave_in_clear(settings)
    assert backup_holds(SECRET)  # the control


@both_databases
def test_what_an_earlier_release_left_in_clear_does_not_stay(settings: Settings) -> None:
    with TestClient(create_app(settings, RecordingEngine())) as client:
        client.headers["Authorization"] = f"Bearer {settings.key_file.read_text().strip()}"
        register(client)
    leave_in_clear(settings)
    assert is_in_files(SECRET, settings)
    prepare(settings)
    assert not is_in_files(SECRET, settings)
    agent = stored_agent(settings)
    (key,) = settings.secret_key_file.read_text().split()
    assert (agent.secret, SecretCipher([key]).decrypt(agent.encrypted_secret)) == ("", SECRET)


@both_databases
def test_an_agent_whose_secret_is_lost_registers_again(world: World) -> None:
    key = agent_key(world)

    def beat() -> int:
        return world.client.post("/v1/agents/agent-1/heartbeat", headers=key).status_code

    made = world.client.post("/v1/agents", json=BODY, headers=key).json()
    assert beat() == 200
    lose_its_key(world)
    agent, config = stored_agent(world.context.settings), executor_config(world.context.settings)
    with pytest.raises(AgentSecretError):
        agent_settings(agent, config, world.context.cipher)
    assert beat() == 404
    refused = world.client.post("/v1/agents", json=BODY, headers=key)
    assert refused.status_code == 403  # a secret that nobody can compare proves nothing
    shown = BODY | {"credential": made["credential"]}
    assert world.client.post("/v1/agents", json=shown, headers=key).status_code == 200
    assert beat() == 200
    agent = stored_agent(world.context.settings)
    assert agent_settings(agent, config, world.context.cipher)["secret"] == SECRET


def lose_its_key(world: World) -> None:
    lost = SecretCipher([Fernet.generate_key().decode()])
    with world.context.database.writing() as session:
        session.execute(update(Agent).values(encrypted_secret=lost.encrypt(SECRET)))


@both_databases
def test_a_start_with_a_new_key_encrypts_everything_with_it(world: World) -> None:
    register(world.client)
    settings = world.context.settings
    (old,), new = settings.secret_key_file.read_text().split(), Fernet.generate_key().decode()
    alone, both = ((SecretStr(new),), (SecretStr(new), SecretStr(old)))
    prepare(settings.model_copy(update={"secret_keys": alone}))  # the control: it is not there
    assert SecretCipher([new]).decrypt(stored_agent(settings).encrypted_secret) is None
    prepare(settings.model_copy(update={"secret_keys": both}))
    assert SecretCipher([new]).decrypt(stored_agent(settings).encrypted_secret) == SECRET
    assert SecretCipher([old]).decrypt(stored_agent(settings).encrypted_secret) is None


def test_keys_that_are_none_are_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TANDEMCAL_SECRET_KEYS", '["too-short-a-key"]')
    found = CliRunner().invoke(app, ["migrate"])
    assert (found.exit_code, "32 bytes in URL-safe base64" in found.output) == (1, True)
    assert "too-short-a-key" not in found.output
