"""Loads one row by its key; one that is damaged is refused by its name."""

from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.orm import Session

from service.damage_errors import RowDamagedError
from service.db.base import Base
from service.db.isolation import going_on
from service.logs import in_a_line

Row = TypeVar("Row", bound=Base)


def load_row(
    session: Session, table: type[Row], key: str, what: str, *, lock: bool = False
) -> Row | None:
    """Return the row as the database has it now, or None; with `lock`, others cannot change it.

    Raises RowDamagedError, with `what` as the kind of resource, if a column cannot be read.
    """
    for_update: Any = True if lock else None
    with going_on() as outcome:
        return session.get(table, key, populate_existing=True, with_for_update=for_update)
    error = outcome.error
    assert error is not None  # nosec B101 # else the row was returned
    # The key is one that no database can hold, or the tables are of another release.
    if isinstance(error, (DataError, ProgrammingError)):
        raise error
    event = f"database: the row of a {what} cannot be read, it is not used"
    structlog.get_logger(__name__).error(event, id=key, error=in_a_line(error))
    raise RowDamagedError(what, key) from error
