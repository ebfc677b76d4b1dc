"""Inserts that meet rows which are there already."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.db.base import Base


def insert_if_new(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert, unless a unique key is taken already. True where the row is new."""
    key = table.__mapper__.primary_key[0]
    statement = _insert(session)(table).values(**values).on_conflict_do_nothing().returning(key)
    return session.execute(statement).first() is not None


def put(session: Session, table: type[Base], values: dict[str, Any]) -> None:
    """Insert, or change the row that has this primary key."""
    key = list(table.__mapper__.primary_key)
    statement = _insert(session)(table).values(**values)
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=values))


def _insert(session: Session) -> Any:
    return _INSERTS[session.get_bind().dialect.name]


_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
