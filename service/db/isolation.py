"""Isolation of rows: one that cannot be read or worked on does not stop the work on the others.

A database that is away is no fault of a row: its errors are raised.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.outage import AWAY
from service.logs import in_a_line

Found = TypeVar("Found")
AnySelect = Select[*tuple[Any, ...]]


class Isolated:
    """How the work on one row went."""

    error: Exception | None = None  # the one that undid it

    @property
    def failed(self) -> bool:
        """Whether an error undid the work."""
        return self.error is not None


class ReadableRows(NamedTuple, Generic[Found]):
    """The rows of a query that could be read, and the keys of those that could not."""

    rows: list[Found]
    unreadable: list[str]


@contextmanager
def isolated(session: Session, event: str, **about: str) -> Iterator[Isolated]:
    """Work on one row in a savepoint; an error undoes it, is logged, and is not raised.

    `event` names the component, what failed and what follows from it; `about` names the row.
    Raises OperationalError and InterfaceError if the database is away.
    """
    outcome = Isolated()
    try:
        with session.begin_nested():
            yield outcome
    except AWAY:
        raise
    except Exception as error:  # whatever one row can hold
        outcome.error = error
        log = structlog.get_logger(__name__).bind(**about)
        log.error(event, error=in_a_line(error))
        log.debug(event, exc_info=error)


def readable_rows(
    session: Session, query: AnySelect, key: InstrumentedAttribute[Any]
) -> ReadableRows[Any]:
    """Return the rows of a query whose values can be read; `key` tells its rows apart.

    The rows are read together; one by one only if that fails. Raises OperationalError and
    InterfaceError if the database is away.
    """
    try:
        return ReadableRows(list(session.execute(query).all()), [])
    except AWAY:
        raise
    except Exception:  # whatever one row can hold
        keys = session.scalars(query.with_only_columns(key)).all()
    found: ReadableRows[Any] = ReadableRows([], [])
    for name in keys:
        try:
            found.rows.extend(session.execute(query.where(key == name)).all())
        except AWAY:
            raise
        except Exception:
            found.unreadable.append(name)
    return found
