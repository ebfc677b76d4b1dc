"""Writes that survive an outage of the database: the writer waits and tries again."""

import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

from service.db.session import Database
from service.logs import in_a_line

# Not reachable, restarting, or too busy to answer; TimeoutError: no connection was free in time.
AWAY = (OperationalError, InterfaceError, TimeoutError)
_PAUSES = (0.1, 0.3, 1.0)  # s between two tries; the last one is repeated


def write_with_retry(database: Database, write: Callable[[Session], None], timeout: float) -> None:
    """Write in a transaction of its own; try again while the database is away.

    A transaction may have been committed although its answer was lost: `write` may be done twice.
    Raises OperationalError or InterfaceError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for pause in _pauses():
        try:
            with database.writing() as session:
                write(session)
            return
        except AWAY as error:
            if time.monotonic() >= deadline:
                raise
            structlog.get_logger(__name__).warning(
                "database: a write failed, it is tried again", error=in_a_line(error)
            )
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    return chain(_PAUSES, repeat(_PAUSES[-1]))
