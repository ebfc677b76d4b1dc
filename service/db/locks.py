"""Locks by name, held until the end of the transaction.

SQLite needs none: a transaction that writes holds the write lock of the whole database.
"""

import hashlib
from collections.abc import Iterable

from sqlalchemy import ARRAY, BigInteger, Connection, cast, func, select
from sqlalchemy.orm import Session

MIGRATIONS = "migrations"
EVENTS = "events"
QUEUE_MAINTENANCE = "keeper"  # the name is shared with workers of older releases
PLANNER = "planner"
RETENTION = "retention"


def hold(unit: Session | Connection, name: str) -> None:
    """Wait for the lock and hold it. A transaction that holds several takes `EVENTS` last."""
    if _is_postgres(unit):
        unit.execute(select(func.pg_advisory_xact_lock(lock_key(name))))


def hold_all(unit: Session | Connection, names: Iterable[str]) -> None:
    """Wait for several locks and hold them; in one order, so that two who do this never block."""
    keys = sorted({lock_key(name) for name in names})
    if keys and _is_postgres(unit):
        number = func.unnest(cast(keys, ARRAY(BigInteger))).column_valued("number")
        unit.execute(select(func.pg_advisory_xact_lock(number)))


def try_hold(unit: Session | Connection, name: str) -> bool:
    """Take the lock if it is free and return whether it was; on SQLite it always is."""
    if not _is_postgres(unit):
        return True
    return bool(unit.scalar(select(func.pg_try_advisory_xact_lock(lock_key(name)))))


def lock_key(name: str) -> int:
    """Return the number of a PostgreSQL advisory lock: the first 8 bytes of the name's SHA-256."""
    digest = hashlib.sha256(f"tandemcal {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _is_postgres(unit: Session | Connection) -> bool:
    bound = unit.get_bind() if isinstance(unit, Session) else unit
    return bound.dialect.name == "postgresql"
