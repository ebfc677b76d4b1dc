"""Inserts that expect a row with the same key to exist."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.db.base import Base


def insert_if_new(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless a unique key is taken; return whether it was inserted."""
    key = table.__mapper__.primary_key[0]
    statement = _insert(session)(table).values(**values).on_conflict_do_nothing().returning(key)
    return session.execute(statement).first() is not None


def put(session: Session, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row, or update the one with the same primary key."""
    key = list(table.__mapper__.primary_key)
    statement = _insert(session)(table).values(**values)
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=values))


def _insert(session: Session) -> Any:
    return _INSERTS[session.get_bind().dialect.name]


_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
