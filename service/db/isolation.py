"""Isolation: a row or a task that fails does not stop the work on the others.

A database that is away is no fault of one of them: its errors are raised.
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
    """How one piece of work went."""

    error: Exception | None = None  # the one that ended it

    @property
    def failed(self) -> bool:
        """Whether an error ended the work."""
        return self.error is not None


class ReadableRows(NamedTuple, Generic[Found]):
    """The rows of a query that could be read, and the keys of those that could not."""

    rows: list[Found]
    unreadable: list[str]


@contextmanager
def going_on() -> Iterator[Isolated]:
    """Do one piece of work; its error is noted in what `with` returns, and not raised.

    Raises OperationalError and InterfaceError if the database is away: then other work would fail
    too.
    """
    outcome = Isolated()
    try:
        yield outcome
    except AWAY:
        raise
    except Exception as error:  # whatever one row can hold
        outcome.error = error


@contextmanager
def isolated(session: Session, event: str, **about: str) -> Iterator[Isolated]:
    """Work on one row in a savepoint; an error undoes it, is logged, and is not raised.

    `event` names the component, what failed and what follows from it; `about` names the row.
    Raises OperationalError and InterfaceError if the database is away.
    """
    with going_on() as outcome, session.begin_nested():
        yield outcome
    if outcome.error is not None:
        log = structlog.get_logger(__name__).bind(**about)
        log.error(event, error=in_a_line(outcome.error))
        log.debug(event, exc_info=outcome.error)


def readable_rows(
    session: Session, query: AnySelect, key: InstrumentedAttribute[Any]
) -> ReadableRows[Any]:
    """Return the rows of a query whose values can be read; `key` tells its rows apart.

    The rows are read together; one by one only if that fails. Raises OperationalError and
    InterfaceError if the database is away.
    """
    with going_on():
        return ReadableRows(list(session.execute(query).all()), [])
    found: ReadableRows[Any] = ReadableRows([], [])
    for name in session.scalars(query.with_only_columns(key)).all():
        with going_on() as outcome:
            found.rows.extend(session.execute(query.where(key == name)).all())
        if outcome.failed:
            found.unreadable.append(name)
    return found
