"""Stored data that are damaged are never handed out, and a folder without rights is named."""

import os
import sys
import time
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from service.artifacts import ArtifactStore
from service.cli.main import app
from service.db.session import Database
from service.db.tables import WeightVersion
from service.db.upkeep_tables import Policy
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.upkeep import upkeep
from service.private_files import DataFolderError, keep_private
from tests.hostile.poison import poison_rows
from tests.integration.upkeep_lab import Fleet
from tests.world import World

CODES = b"another version's codes"
ANOTHER = zlib.compress(CODES)


@pytest.mark.parametrize("stored", [ANOTHER, b"no zlib", b""], ids=["another", "broken", "empty"])
def test_damaged_weights_are_not_handed_out(world: World, stored: bytes) -> None:
    chip = Fleet(world).chip("a")
    path = f"/v1/chips/{chip}/weights/1/block"
    assert world.client.get(path).content == b"codes"
    with world.context.database.writing() as session:
        session.execute(update(WeightVersion).values(block=stored))
    answer = world.client.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (500, "/problems/damaged")
    assert f"version 1 of chip {chip}" in problem["detail"]
    assert "restore" in problem["detail"]
    assert (problem["chip_id"], problem["version"]) == (chip, 1)
    for kept_back in {CODES, b"codes", stored} - {b""}:
        assert kept_back not in answer.content.replace(problem["detail"].encode(), b"")


@pytest.mark.parametrize("change", ["another", "missing"])
def test_a_damaged_block_of_the_store_is_not_handed_out(world: World, change: str) -> None:
    student = world.trained_student()
    path = f"/v1/students/{student}/weights"
    assert world.client.get(path).status_code == 200
    sha256 = world.client.get(f"/v1/students/{student}").json()["sha256"]
    stored = world.context.settings.artifacts_dir / sha256[:2] / sha256
    if change == "missing":
        stored.unlink()
    else:
        stored.write_bytes(b"another block")
    answer = world.client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/damaged")
    assert sha256 in answer.json()["detail"]
    assert b"another block" not in answer.content


def test_a_policy_that_cannot_be_read_is_named_and_can_be_deleted(world: World) -> None:
    chip = Fleet(world).chip("a", probe_every_s=60.0)
    kinds = set()
    for poison in poison_rows(world.context.database, Policy, chip):
        answer = world.client.get(f"/v1/chips/{poison.id}/policy")
        kinds.add(answer.status_code)
        if answer.status_code != 200:
            assert answer.json()["type"] == "/problems/damaged", poison
            assert world.client.delete(f"/v1/chips/{poison.id}/policy").status_code == 204
    assert kinds == {200, 500}


def test_abandoned_uploads_are_swept_while_the_service_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = world.context
    store = ArtifactStore(context.settings.artifacts_dir)
    incoming = context.settings.artifacts_dir / "incoming"
    for name, age in (("part-old", 25 * 3600), ("part-young", 3600)):
        (incoming / name).mkdir(parents=True)
        os.utime(incoming / name, (time.time() - age,) * 2)
    monkeypatch.setattr(upkeep, "_SWEEP_INTERVAL", 0.0)
    queue: Any = DbosQueue(context.database, timedelta(seconds=1))
    looks = upkeep.Upkeep(context.settings, context.database, queue, queue)
    monkeypatch.setattr(looks._retention, "forget", lambda: 0)
    looks.run_once()
    queue.close()
    assert [path.name for path in incoming.iterdir()] == ["part-young"]
    store.delete_abandoned_uploads()
    assert (incoming / "part-young").exists()


def test_readiness_waits_for_no_writer_and_loads_no_migration(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = world.context.database
    assert world.client.get("/readyz").status_code == 200

    def load(*_: object) -> None:
        raise AssertionError("migrations are loaded again")

    monkeypatch.setattr(ScriptDirectory, "from_config", load)
    with database.writing() as session:
        session.execute(text("UPDATE jobs SET priority = priority"))
        began = time.monotonic()
        assert all(world.client.get("/readyz").status_code == 200 for _ in range(20))
        assert time.monotonic() - began < 5
        assert is_locked(database)  # what takes the write lock would have waited


def is_locked(database: Database) -> bool:
    """Tell whether the write lock of SQLite is held by somebody else."""
    with database.engine.execution_options(reads_only=True).connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError:
            return True
        finally:
            connection.invalidate()
    return False


# No process may make a folder there, not even that of the superuser.
READ_ONLY = Path("/sys/tandemcal")


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's own file system")
@pytest.mark.parametrize("command", ["up", "api", "worker", "migrate"])
def test_a_data_folder_without_rights_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("TANDEMCAL_DATA_DIR", str(READ_ONLY))
    monkeypatch.setenv("TANDEMCAL_PORT", "0")
    for module in ("serve", "worker"):  # the log of the other tests stays as it is
        monkeypatch.setattr(f"service.cli.{module}.configure_logging", lambda *_, **__: None)
    before = os.umask(0o022)
    try:
        found = CliRunner().invoke(app, [command])
    finally:
        os.umask(before)
    assert found.exit_code == 1
    assert f"Cannot write to the data folder {READ_ONLY}" in " ".join(found.output.split())
    assert "TANDEMCAL_DATA_DIR" in found.output
    assert "Traceback" not in found.output


def test_a_folder_that_became_read_only_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    before = os.umask(0o022)
    try:
        keep_private(tmp_path)
        monkeypatch.setattr("tempfile.TemporaryFile", no_file)
        with pytest.raises(DataFolderError, match="Read-only file system"):
            keep_private(tmp_path)
    finally:
        os.umask(before)
