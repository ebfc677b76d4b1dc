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
    dialect = session.get_bind().dialect.name
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    key = table.__mapper__.primary_key[0]
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(key)
    return session.execute(statement).first() is not None
