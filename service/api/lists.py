"""Lists: one page is bounded in bytes as well as in items, for an item may be large.

A row that does not fit its view is left out, logged, and named in the answer: one damaged row must
not hide all others.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import structlog
from fastapi import Response
from pydantic import TypeAdapter

from service.db.base import Base
from service.db.isolation import going_on
from service.db.repositories.paging import RowPage
from service.logs import in_a_line
from service.schemas.base import View

Row = TypeVar("Row", bound=Base)
ViewOf = Callable[[Row], View]  # raises whatever a row can cause that no row should be

LIST_BYTES = 1_000_000  # of one answer
ITEM_BYTES = 64 * 1024  # above which a list shows an item without its large fields
_AROUND = 400  # bytes of an answer besides its items
_LARGE = ("result", "progress", "summary", "fingerprint")  # all may be null
_JSON: TypeAdapter[object] = TypeAdapter(object)


class _Shown(NamedTuple):
    """What a page shows: its items as JSON, what it leaves out, and how to go on behind it."""

    items: list[bytes]
    unreadable: list[str]
    next_cursor: str | None


def list_page(found: RowPage[Row], view_of: ViewOf[Row]) -> Response:
    """Answer with the views of a page's rows, as many as fit; the next page goes on behind them.

    Each item is written as JSON once: to be measured and to be sent.
    """
    shown = _shown(found, view_of)
    body = b'{"items":[%b],"next_cursor":%b,"unreadable":%b}' % (
        b",".join(shown.items),
        _JSON.dump_json(shown.next_cursor),
        _JSON.dump_json(shown.unreadable),
    )
    return Response(body, media_type="application/json")


def _shown(found: RowPage[Row], view_of: ViewOf[Row]) -> _Shown:
    items: list[bytes] = []
    damaged: list[str] = []
    room = LIST_BYTES - _AROUND
    for index, row in enumerate(found.rows):
        item = _item(row, view_of)
        if item is None:
            damaged.append(str(found.id_of(row)))
            continue
        room -= len(item) + 1  # with the comma behind it
        if room < 0 and items:
            last = index - 1  # what cannot be read behind it is named on the next page
            unreadable = [*found.unreadable_before(last), *damaged]
            return _Shown(items, unreadable, found.cursor_behind(last))
        items.append(item)
    return _Shown(items, [*map(str, found.unreadable), *damaged], found.next_cursor)


def _item(row: Row, view_of: ViewOf[Row]) -> bytes | None:
    """Return one item as JSON; None, and a line in the log, if its row is damaged."""
    with going_on() as outcome:
        view = view_of(row)
        whole = view.model_dump_json().encode()
        return whole if len(whole) <= ITEM_BYTES else _small(view)
    if outcome.error is not None:
        log = structlog.get_logger(__name__).bind(table=row.__tablename__)
        event = "lists: a row does not fit its view, it is left out"
        log.error(event, id=_id_of(row), error=in_a_line(outcome.error))
    return None


def _id_of(row: Base) -> str:
    return ", ".join(str(key) for key in row.__mapper__.primary_key_from_instance(row))


def _small(view: View) -> bytes:
    """Return an item without its large fields."""
    names = {name: None for name in _LARGE if name in type(view).model_fields}
    return view.model_copy(update=names).model_dump_json().encode()
