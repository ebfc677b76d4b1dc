"""Pages of lists that are sorted by something else than age, such as a name.

The places of all rows are read and sorted here, so that both databases sort alike and a damaged
value hides nothing; 10,000 of them take some 50 ms. A cursor names the place of a row, and not only
the row: the next page goes on there even if that row has been changed or deleted.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.isolation import readable_rows
from service.db.repositories.paging import PageRequest, Row, RowPage, left_out, read_cursor
from service.request_errors import ForeignCursorError

Value = str | float | None  # by which rows are sorted; None is not known and comes last
_Place = tuple[bool, str | float, str]


class Sort(NamedTuple):
    """How rows are sorted: by a column, and what its values mean."""

    column: ColumnElement[Any] | InstrumentedAttribute[Any]
    value_of: Callable[[Any], Value]


def by_text(value: Any) -> Value:
    """Sort by a text, in the order of its characters in Unicode."""
    return value if isinstance(value, str) else None


def fetch_sorted(
    session: Session,
    query: Select[Row],
    key: InstrumentedAttribute[str],
    sort: Sort,
    page: PageRequest,
) -> RowPage[Row]:
    """Return one page of the rows in this order. Raises ForeignCursorError."""
    found = readable_rows(session, query.with_only_columns(key, sort.column), key)
    values: dict[str, Value] = dict.fromkeys(found.unreadable)
    values |= {id: sort.value_of(value) for id, value in found.rows}

    def place_of(id: str) -> _Place:
        return _place(values[id], id, rising=page.oldest_first)

    ids = sorted(values, key=place_of, reverse=not page.oldest_first)
    if page.cursor is not None:
        last = _place(*_read(read_cursor(key, page)), rising=page.oldest_first)
        ids = _behind(last, ids, place_of, rising=page.oldest_first)
    shown = ids[: page.limit]
    rows = readable_rows(session, query.where(key.in_(shown)), key).rows
    by_id = {getattr(row[0], key.key): row[0] for row in rows}
    return RowPage(
        [by_id[id] for id in shown if id in by_id],
        len(ids) > page.limit,
        key,
        page,
        tuple(shown),
        left_out(shown, by_id, key),
        lambda id: _written(values[id], id),
    )


def _behind(
    last: _Place, ids: list[str], place_of: Callable[[str], _Place], *, rising: bool
) -> list[str]:
    """Return the ids behind a place. Raises ForeignCursorError for a value of another type."""
    try:
        return [id for id in ids if (place_of(id) > last if rising else place_of(id) < last)]
    except TypeError:
        raise ForeignCursorError from None


def _place(value: Value, id: str, *, rising: bool) -> _Place:
    """Return what rows are compared by: those of unknown values come last in both directions."""
    is_known = value is not None
    return (is_known != rising, "" if value is None else value, id)


def _written(value: Value, id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([value, id]).encode()).decode()


def _read(text: str) -> tuple[Value, str]:
    """Read what `_written` wrote. Raises ForeignCursorError for anything else."""
    try:
        value, id = json.loads(base64.urlsafe_b64decode(text))
    except ValueError:
        raise ForeignCursorError from None
    if not isinstance(id, str) or not isinstance(value, str | float | None):
        raise ForeignCursorError
    return value, id
