"""Keys: random, shown once, kept as their hash. And what must stand before the service answers."""

import hashlib
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from uuid_utils import uuid7

from service.db import locks
from service.db.migrate import upgrade
from service.db.repositories.access import KeyRepository
from service.db.session import Database, wait_for
from service.db.tables import ApiKey
from service.settings import Settings
from service.states import Scope

_JOIN_KEY = "join key (TANDEMCAL_JOIN_KEY)"
_PREFIX = "tcal_"  # so that a key in the wrong place is recognised


class NewKey(NamedTuple):
    """A key with its row; the key itself is kept nowhere."""

    key: str
    row: ApiKey


def make_key(name: str, scopes: Sequence[Scope], now: datetime) -> NewKey:
    """256 random bits."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return NewKey(key, _key_row(name, key, scopes, now))


def hash_key(key: str) -> str:
    """Plain SHA-256 is enough for a key that cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def prepare(settings: Settings) -> str | None:
    """Migrate, and make the first key where there is none; that key, once.

    It is also left in `settings.key_file`, which only its owner can read.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    wait_for(settings.database, settings.database_wait_s)
    upgrade(settings.database)
    database = Database(settings.database)
    try:
        made = _first_key(database, settings.key_file)
        if settings.join_key is not None:
            _accept_join_key(database, settings.join_key.get_secret_value())
        return made
    finally:
        database.close()


def _key_row(name: str, key: str, scopes: Sequence[Scope], now: datetime) -> ApiKey:
    return ApiKey(
        id=str(uuid7()), name=name, sha256=hash_key(key), scopes=list(scopes), created_at=now
    )


def _first_key(database: Database, path: Path) -> str | None:
    with database.writing() as session:
        locks.hold(session, locks.MIGRATIONS)  # one first key, whoever starts at the same time
        keys = KeyRepository(session)
        if keys.any_valid():
            return None
        new = make_key("first key", tuple(Scope), datetime.now(UTC))
        keys.add(new.row)
        _leave(path, new.key)
    return new.key


def _accept_join_key(database: Database, key: str) -> None:
    """Beside it no join key of an earlier start opens anything. A revoked one stays revoked."""
    now = datetime.now(UTC)
    with database.writing() as session:
        keys = KeyRepository(session)
        rows = [row for row in keys.list() if row.name == _JOIN_KEY]
        for row in rows:
            if row.sha256 != hash_key(key):
                keys.revoke(row.id, now)
        if all(row.sha256 != hash_key(key) for row in rows):
            keys.add(_key_row(_JOIN_KEY, key, (Scope.AGENT,), now))


def _leave(path: Path, key: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
