"""Locks by name, held until the end of the transaction.

SQLite needs none: a unit that writes holds the write lock of the whole database.
"""

import hashlib

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

MIGRATIONS = "migrations"
EVENTS = "events"
KEEPER = "keeper"
PLANNER = "planner"
RETENTION = "retention"


def hold(unit: Session | Connection, name: str) -> None:
    """Wait for the lock. Whoever holds several takes `EVENTS` last."""
    if _is_postgres(unit):
        unit.execute(select(func.pg_advisory_xact_lock(lock_key(name))))


def try_hold(unit: Session | Connection, name: str) -> bool:
    """Take the lock unless somebody else holds it; on SQLite it is always free."""
    if not _is_postgres(unit):
        return True
    return bool(unit.scalar(select(func.pg_try_advisory_xact_lock(lock_key(name)))))


def lock_key(name: str) -> int:
    """PostgreSQL's advisory locks have 64-bit numbers: the first 8 bytes of the SHA-256."""
    digest = hashlib.sha256(f"tandemcal {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _is_postgres(unit: Session | Connection) -> bool:
    bound = unit.get_bind() if isinstance(unit, Session) else unit
    return bound.dialect.name == "postgresql"
