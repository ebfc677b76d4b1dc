"""Rows of a benchmark in a JSON file, so that a run goes on where an earlier one ended."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console


class Row(Protocol):
    """One measurement, a NamedTuple."""

    def _asdict(self) -> dict[str, Any]: ...


AnyRow = TypeVar("AnyRow", bound=Row)


def read_rows(path: Path | None, make: Callable[..., AnyRow]) -> list[AnyRow]:
    """Read the rows of an earlier run with `make`; none if there is no such file."""
    if path is None or not path.is_file():
        return []
    return [make(**row) for row in json.loads(path.read_text())["rows"]]


def write_rows(path: Path | None, heading: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Write the heading and every row so far."""
    if path is not None:
        content = {**heading, "rows": [row._asdict() for row in rows]}
        path.write_text(json.dumps(content, indent=2) + "\n")


def keep_rows(
    found: Iterable[AnyRow],
    rows: list[AnyRow],
    path: Path | None,
    heading: Mapping[str, object],
) -> Iterator[AnyRow]:
    """Add each new row to `rows` and to the file, and yield it."""
    for row in found:
        rows.append(row)
        write_rows(path, heading, rows)
        yield row


def grouped(rows: Iterable[AnyRow], *fields: str) -> dict[tuple[str, ...], list[AnyRow]]:
    """Sort rows by what they hold in these fields, in the order in which that comes first."""
    found: dict[tuple[str, ...], list[AnyRow]] = {}
    for row in rows:
        found.setdefault(tuple(getattr(row, field) for field in fields), []).append(row)
    return found


def exit_code(console: Console, complaints: Iterable[str], *, check: bool) -> int:
    """Print what misses; return 1 if something does and `--check` asks for it."""
    missed = list(complaints)
    for complaint in missed:
        console.print(complaint)
    return 1 if check and missed else 0
