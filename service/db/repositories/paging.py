"""Lists in pages; a cursor names the row after which the next page starts."""

import hashlib
import re
from collections.abc import Callable, Container, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.base import Base
from service.db.isolation import ReadableRows, readable_rows
from service.request_errors import ForeignCursorError

Row = TypeVar("Row", bound=Base)
Key = TypeVar("Key", str, int)  # what rows are ordered by
_CHECK_DIGITS = 16  # of a cursor
_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")


AGE = "created_at"  # the sort by age: ids rise with time


class PageRequest(NamedTuple):
    """Which page of a list to read."""

    limit: int = 50
    cursor: str | None = None
    oldest_first: bool = False  # else the newest first; of another sort, the smallest first
    sort: str = AGE  # what the list is sorted by; rows of equal places are sorted by age


def identity(id: Any) -> Any:
    """Return the id itself: of a list that is sorted by age it is the place of a row."""
    return id


class RowPage(NamedTuple, Generic[Row]):
    """Rows of one page, and how to go on behind any of them."""

    rows: list[Row]
    more: bool  # whether there is another row behind the last one
    key: Any  # the column of ids; a type checker would take its type for that of a value
    asked: PageRequest
    shown: tuple[Any, ...]  # ids of this page in order, also of rows that cannot be read
    unreadable: tuple[str, ...]  # ids of the rows of this page that cannot be read
    place_of: Callable[[Any], object] = identity  # what a cursor says of an id: its place

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last one."""
        if not self.more or not self.shown:
            return None
        return make_cursor(self.key, self.asked, self.place_of(self.shown[-1]))

    def id_of(self, row: Row) -> Any:
        """Return what the list orders a row by."""
        return getattr(row, self.key.key)

    def cursor_behind(self, index: int) -> str:
        """Return the cursor of the page that begins behind a row of this one."""
        return make_cursor(self.key, self.asked, self.place_of(self.id_of(self.rows[index])))

    def unreadable_before(self, index: int) -> list[str]:
        """Return the ids of rows that cannot be read which stand before a row of this page."""
        end = self.shown.index(self.id_of(self.rows[index]))
        return [str(id) for id in self.shown[:end] if id in self.unreadable]


def fetch_page(
    session: Session, query: Select[Row], key: InstrumentedAttribute[Key], page: PageRequest
) -> RowPage[Row]:
    """Return one page of rows, ordered by their id, without those that cannot be read.

    Raises ForeignCursorError for a cursor of another list or of nobody.
    """
    if page.cursor is not None:
        after = _value(key, read_cursor(key, page))
        query = query.where(key > after if page.oldest_first else key < after)
    query = query.order_by(key if page.oldest_first else key.desc()).limit(page.limit + 1)
    found: ReadableRows[Any] = readable_rows(session, query, key)
    by_id: dict[Any, Row] = {getattr(row[0], key.key): row[0] for row in found.rows}
    ids: list[Any] = sorted([*by_id, *found.unreadable], reverse=not page.oldest_first)
    shown, more = ids[: page.limit], len(ids) > page.limit
    rows = [by_id[id] for id in shown if id in by_id]
    return RowPage(rows, more, key, page, tuple(shown), left_out(shown, by_id, key))


def left_out(
    shown: Sequence[Any], by_id: Container[Any], key: InstrumentedAttribute[Any]
) -> tuple[Any, ...]:
    """Return the ids of a page whose rows cannot be read, which the log names."""
    unreadable = tuple(id for id in shown if id not in by_id)
    if unreadable:
        log = structlog.get_logger(__name__).bind(table=key.class_.__tablename__)
        log.warning("lists: rows cannot be read, they are left out", ids=unreadable)
    return unreadable


def make_cursor(key: InstrumentedAttribute[Key], page: PageRequest, after: object) -> str:
    """Return the cursor of the page behind a row: its id, and a check that names the list.

    The check is no secret. Whoever computes it names a place in a list that the key may read.
    """
    by = "" if page.sort == AGE else f" by {page.sort}"
    place = f"{key}{by} {'up' if page.oldest_first else 'down'} {after}"
    return f"{after}.{hashlib.sha256(place.encode()).hexdigest()[:_CHECK_DIGITS]}"


def _value(key: InstrumentedAttribute[Key], after: str) -> str | int:
    """Return the id of a cursor as the database compares it.

    The check of a cursor is no secret, so whoever computes it may write anything before it. Raises
    ForeignCursorError for what is no id.
    """
    if key.type.python_type is not int:
        if "\0" in after:  # PostgreSQL has no such text
            raise ForeignCursorError
        return after
    if not _WHOLE.fullmatch(after) or int(after) >= 2**63:
        raise ForeignCursorError
    return int(after)


def read_cursor(key: InstrumentedAttribute[Key], page: PageRequest) -> str:
    """Return the id in the cursor of a page. Raises ForeignCursorError."""
    after = (page.cursor or "").rpartition(".")[0]
    if make_cursor(key, page, after) != page.cursor:
        raise ForeignCursorError
    return after
