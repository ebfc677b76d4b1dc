"""Backs up database and artifacts to a folder while the service runs, and restores them.

DIR/manifest.json    version, time, kind and SHA-256 of the database
DIR/database         a SQLite file, or a dump by pg_dump in its custom format
DIR/artifacts/       blocks by their SHA-256, as in the store
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import update

from service.artifacts import ArtifactStore
from service.backup.dump import check_empty, dump, load
from service.backup.errors import BlocksMissingError, NotABackupError
from service.damage_errors import ArtifactMissingError
from service.db.migrate import upgrade
from service.db.session import Database
from service.db.tables import ChipLease
from service.jobs.queue.executor import refuse_second
from service.settings import Settings
from service.version import code_version

_MANIFEST, _DATABASE, _ARTIFACTS = "manifest.json", "database", "artifacts"
_TRIES = 3  # the service may replace blocks while they are copied
_AHEAD = 1_000_000  # above every token issued after the backup, which an agent may have seen


class Manifest(BaseModel):
    """Description of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made_at: datetime
    code_version: str
    database: Literal["sqlite", "postgresql"]
    database_sha256: str
    blocks: int
    missing: tuple[str, ...] = ()  # referenced by rows, but missing in the store


def back_up(settings: Settings, directory: Path) -> Manifest:
    """Write a backup to the folder; blocks that it holds already are not copied again.

    Raises BackupError, and ArtifactCorruptError if a block does not match its SHA-256.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MANIFEST).unlink(missing_ok=True)  # without a manifest it is not a backup
    store, kept = ArtifactStore(settings.artifacts_dir), ArtifactStore(directory / _ARTIFACTS)
    database = Database(settings.database)
    try:
        missing = _copy_all(database, store, kept, directory / _DATABASE)
        kind: Literal["sqlite", "postgresql"] = "sqlite" if database.is_sqlite else "postgresql"
    finally:
        database.close()
    manifest = Manifest(
        made_at=datetime.now(UTC),
        code_version=code_version(),
        database=kind,
        database_sha256=_sha256(directory / _DATABASE),
        blocks=sum(1 for _ in kept.every()),
        missing=tuple(missing),
    )
    (directory / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    if missing:
        raise BlocksMissingError(missing)
    return manifest


def restore(settings: Settings, directory: Path) -> Manifest:
    """Restore a backup into an empty database, after verifying it.

    Raises BackupError, and ExecutorRunningError if a service is running on the database.
    """
    manifest = _read(directory)
    kept, store = ArtifactStore(directory / _ARTIFACTS), ArtifactStore(settings.artifacts_dir)
    database = Database(settings.database)
    try:
        if database.is_sqlite != (manifest.database == "sqlite"):
            raise NotABackupError(
                str(directory),
                f"it holds a {manifest.database} database, but the settings name another kind",
            )
        refuse_second(settings.database)
        check_empty(database)
        for sha256 in kept.every():
            store.put(kept.read(sha256))
        load(directory / _DATABASE, database)
        upgrade(settings.database)
        _raise_lease_tokens(database)
    finally:
        database.close()
    return manifest


def _copy_all(
    database: Database, store: ArtifactStore, kept: ArtifactStore, path: Path
) -> list[str]:
    """Copy blocks before and after the database; return the referenced blocks that are missing."""
    for _ in range(_TRIES):
        _copy_blocks(store, kept)
        named = dump(database, path)
        _copy_blocks(store, kept)
        missing = sorted(sha256 for sha256 in named if not kept.has(sha256))
        if not missing:
            break
    return missing


def _copy_blocks(source: ArtifactStore, target: ArtifactStore) -> None:
    """Copy each block; reading it checks its SHA-256."""
    for sha256 in source.every():
        if not target.has(sha256):
            try:
                target.put(source.read(sha256))
            except ArtifactMissingError:
                continue  # deleted since it was listed, in favour of a newer one


def _read(directory: Path) -> Manifest:
    """Read the manifest, and verify the database. Raises NotABackupError."""
    try:
        manifest = Manifest.model_validate_json((directory / _MANIFEST).read_bytes())
        found = _sha256(directory / _DATABASE)
    except FileNotFoundError as error:
        raise NotABackupError(str(directory), f"{error.filename} is missing") from None
    except ValidationError as error:
        raise NotABackupError(str(directory), f"its manifest cannot be read: {error}") from None
    if found != manifest.database_sha256:
        raise NotABackupError(str(directory), "the database is not the one that was backed up")
    return manifest


def _raise_lease_tokens(database: Database) -> None:
    """Raise the lease tokens: agents may have seen higher ones, and refuse lower tokens."""
    with database.writing() as session:
        session.execute(update(ChipLease).values(token=ChipLease.token + _AHEAD, holder=None))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
