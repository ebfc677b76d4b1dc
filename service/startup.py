"""Preparations before the service answers: migrations, and the first key."""

from datetime import UTC, datetime
from pathlib import Path

from service.db import locks
from service.db.migrate import upgrade
from service.db.repositories.agents import AgentRepository
from service.db.repositories.audit import SERVICE, AuditRepository
from service.db.repositories.keys import KeyRepository
from service.db.secrets import renew_secrets
from service.db.session import Database, wait_for
from service.keys import hash_key, key_row, make_key
from service.private_files import write_private
from service.secret_cipher import open_cipher
from service.settings import Settings
from service.states import Scope

_JOIN_KEY = "join key (TANDEMCAL_JOIN_KEY)"


def prepare(settings: Settings) -> str | None:
    """Migrate the database, and create a first key if none has the scope `admin`; return a new key.

    The key is also written to `settings.key_file`, which only its owner can read. Stored secrets
    are encrypted with the newest key. Raises OperationalError if the database does not answer in
    time, and SecretKeysError.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    wait_for(settings.database, settings.database_wait_s)
    cipher = open_cipher(settings.secret_key_texts, settings.secret_key_file)
    upgrade(settings.database)
    database = Database(settings.database)
    try:
        renew_secrets(database, cipher)
        made = _first_key(database, settings.key_file)
        if settings.join_key is not None:
            _accept_join_key(database, settings.join_key.get_secret_value())
        return made
    finally:
        database.close()


def _first_key(database: Database, path: Path) -> str | None:
    with database.writing() as session:
        locks.hold(session, locks.MIGRATIONS)  # processes that start together create one key
        keys, now = KeyRepository(session), datetime.now(UTC)
        if keys.any_admin(now):
            return None
        new = make_key("first key", tuple(Scope), now)
        keys.add(new.row)
        AuditRepository(session).record(
            SERVICE, "key.created", new.row.id, now, name=new.row.name, scopes=new.row.scopes
        )
        write_private(path, new.key)
    return new.key


def _accept_join_key(database: Database, key: str) -> None:
    """Accept this join key and revoke those of earlier starts. A revoked one stays revoked.

    The agents of earlier ones belong to this one from now on.
    """
    now = datetime.now(UTC)
    with database.writing() as session:
        keys, audit = KeyRepository(session), AuditRepository(session)
        rows = keys.named(_JOIN_KEY)
        for row in rows:
            if row.sha256 != hash_key(key) and row.revoked_at is None:
                keys.revoke(row.id, now)
                audit.record(SERVICE, "key.revoked", row.id, now, name=_JOIN_KEY)
        if all(row.sha256 != hash_key(key) for row in rows):
            made = key_row(_JOIN_KEY, key, (Scope.AGENT,), now)
            keys.add(made)
            audit.record(SERVICE, "key.created", made.id, now, name=_JOIN_KEY)
            AgentRepository(session).hand_over([row.id for row in rows], made.id)
