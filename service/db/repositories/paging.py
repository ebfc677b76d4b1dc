"""Lists in pages: a cursor is the id after which the next page starts."""

from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.tables import Base

Row = TypeVar("Row", bound=Base)


class PageOf(NamedTuple):
    """Which part of a list is wanted."""

    limit: int = 50
    cursor: str | None = None
    oldest_first: bool = False


def fetch_page(
    session: Session, query: Select[Row], key: InstrumentedAttribute[str], page: PageOf
) -> tuple[list[Row], str | None]:
    """One page of rows by their time-ordered id, and the cursor of the next page."""
    if page.cursor is not None:
        query = query.where(key > page.cursor if page.oldest_first else key < page.cursor)
    query = query.order_by(key if page.oldest_first else key.desc()).limit(page.limit + 1)
    rows = list(session.scalars(query))
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    return rows, getattr(rows[-1], key.key) if more else None


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
