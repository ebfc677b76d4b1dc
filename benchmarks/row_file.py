"""Rows of a benchmark in a JSON file, so that a run goes on where an earlier one ended."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar


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
