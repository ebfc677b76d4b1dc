"""Counts the statements that a database is sent: a bound on them is no timing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from service.db.session import Database

_TRANSACTIONS = ("BEGIN", "PRAGMA")  # of SQLite; PostgreSQL's driver begins by itself


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Yield a list to which every statement of the block is added."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(_TRANSACTIONS):
            sent.append(" ".join(statement.split()))

    for engine in database.engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        for engine in database.engines:
            event.remove(engine, "before_cursor_execute", note)
