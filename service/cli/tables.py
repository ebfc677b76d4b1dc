"""Tables for terminals: figures and ids are never cut, words are folded to fit."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from service.formatting import DASH

_GAP = 2  # characters between two columns
FOLDED_WIDTH_MIN = 12  # characters of a column of words


class Column(NamedTuple):
    """A column; one of words may be folded to several lines, any other is one line."""

    title: str
    words: bool = False
    figures: bool = False  # aligned to the right


def show_table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[object]],
    none: str = "There is nothing to show.",
) -> None:
    """Print a table; a value that is None is shown as a dash. Without a row, print `none`.

    It fits the terminal, or 80 columns in a file, unless its ids and figures alone are wider.
    """
    described = [one if isinstance(one, Column) else Column(one) for one in columns]
    cells = [[DASH if value is None else str(value) for value in row] for row in rows]
    if not cells:
        Console(markup=False, highlight=False).print(none, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    least = 0
    for number, column in enumerate(described):
        longest = max([len(column.title), *(len(row[number]) for row in cells)])
        width = min(longest, FOLDED_WIDTH_MIN) if column.words else longest
        least += width + _GAP
        table.add_column(
            column.title,
            no_wrap=not column.words,
            min_width=width,
            overflow="fold",
            justify="right" if column.figures else "left",
        )
    for row in cells:
        table.add_row(*row)
    Console(width=max(Console().width, least), markup=False, highlight=False).print(table)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print one line for each fact: its name, and its value; those that are None are left out."""
    known = [(name, str(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    console = Console(markup=False, highlight=False)
    for name, value in known:
        console.print(f"{name.ljust(width)}  {value}", soft_wrap=True)
