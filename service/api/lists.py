"""Lists: one page is bounded in bytes as well as in items, for an item may be large."""

from collections.abc import Sequence
from typing import TypeVar

from service.db.base import Base
from service.db.repositories.paging import RowPage
from service.schemas.base import Page, View

Item = TypeVar("Item", bound=View)
Row = TypeVar("Row", bound=Base)

LIST_BYTES = 1_000_000  # of one answer
ITEM_BYTES = 64 * 1024  # above which a list shows an item without its large fields
_AROUND = 400  # bytes of an answer besides its items
_LARGE = ("result", "progress", "summary", "fingerprint")  # all may be null


def list_page(found: RowPage[Row], views: Sequence[Item]) -> Page[Item]:
    """Return the views of a page's rows, as many as fit; the next page goes on behind them."""
    items: list[Item] = []
    room = LIST_BYTES - _AROUND
    for view in map(_small, views):
        room -= _bytes(view)
        if room < 0 and items:
            return Page(items=items, next_cursor=found.cursor_behind(len(items) - 1))
        items.append(view)
    return Page(items=items, next_cursor=found.next_cursor)


def _small(view: Item) -> Item:
    if _bytes(view) <= ITEM_BYTES:
        return view
    return view.model_copy(
        update={name: None for name in _LARGE if name in type(view).model_fields}
    )


def _bytes(view: View) -> int:
    """Return the size of a view as JSON, with the comma behind it."""
    return len(view.model_dump_json().encode()) + 1
