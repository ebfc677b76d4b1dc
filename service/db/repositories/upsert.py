"""Inserts that expect a row with the same key to exist.

Values are given when a statement is executed, not written into it: SQLAlchemy compiles it once.
"""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.db.base import Base


def insert_if_new(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless a unique key is taken; return whether it was inserted."""
    key = _table(table).primary_key.columns[0]
    statement = _insert(session, table).on_conflict_do_nothing().returning(key)
    return session.execute(statement, values).first() is not None


def insert_all_if_new(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> bool:
    """Insert rows in their order, unless a unique key is taken; return whether all were inserted.

    It is one statement, however many they are.
    """
    key = _table(table).primary_key.columns[0]
    statement = _insert(session, table).on_conflict_do_nothing().returning(key)
    return len(session.execute(statement, list(rows)).all()) == len(rows)


def put(session: Session, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row, or update the one with the same primary key."""
    statement = _insert(session, table)
    given = {name: statement.excluded[name] for name in values}
    keys = list(_table(table).primary_key.columns)
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=given), values)


def _insert(session: Session, table: type[Base]) -> Any:
    return _INSERTS[session.get_bind().dialect.name](_table(table))


def _table(table: type[Base]) -> Table:
    return cast(Table, table.__table__)


_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
