"""Lists in pages; a cursor is the id after which the next page starts."""

from typing import NamedTuple, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.base import Base

Row = TypeVar("Row", bound=Base)


class PageRequest(NamedTuple):
    """Which page of a list to read."""

    limit: int = 50
    cursor: str | None = None
    oldest_first: bool = False


def fetch_page(
    session: Session, query: Select[Row], key: InstrumentedAttribute[str], page: PageRequest
) -> tuple[list[Row], str | None]:
    """Return one page of rows, ordered by their id, and the cursor of the next page, if any."""
    if page.cursor is not None:
        query = query.where(key > page.cursor if page.oldest_first else key < page.cursor)
    query = query.order_by(key if page.oldest_first else key.desc()).limit(page.limit + 1)
    rows = list(session.scalars(query))
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    return rows, getattr(rows[-1], key.key) if more else None
