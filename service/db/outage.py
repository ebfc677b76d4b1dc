"""A database that goes away for a while takes nothing with it: its writers wait."""

import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from service.db.session import Database
from service.logs import in_a_line

AWAY = (OperationalError, InterfaceError)  # not reachable, restarting, or too busy to answer
_PAUSES = (0.1, 0.3, 1.0)  # s between two tries; the last one is repeated


def write_patiently(database: Database, write: Callable[[Session], None], patience: float) -> None:
    """Write in a unit of its own, again and again while the database is away.

    A unit may have been committed although its answer was lost: `write` may be done twice. Raises
    OperationalError or InterfaceError after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    for pause in _pauses():
        try:
            with database.writing() as session:
                write(session)
            return
        except AWAY as error:
            if time.monotonic() >= deadline:
                raise
            structlog.get_logger(__name__).warning("database away", error=in_a_line(error))
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    return chain(_PAUSES, repeat(_PAUSES[-1]))
