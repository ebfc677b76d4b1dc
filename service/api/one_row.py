"""Answers with one row: a damaged one is refused in a sentence that names it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from fastapi import Response
from sqlalchemy.exc import DataError

from ltl_core.errors import CalibrationError
from service.damage_errors import RowDamagedError
from service.db.isolation import going_on
from service.logs import in_a_line
from service.schemas.base import View


def row_answer(what: str, row_id: str, view: Callable[[], View]) -> Response:
    """Answer with the view of one row. Raises RowDamagedError, and what `one_row` lets through."""
    with one_row(what, row_id):
        body = view().model_dump_json().encode()
    return Response(body, media_type="application/json")


@contextmanager
def one_row(what: str, row_id: str) -> Iterator[None]:
    """Read one row, of this kind and id, and build its view.

    Raises RowDamagedError for whatever the row causes that no row should. The errors of Tandemcal,
    those of a database that is away, and of an id that no database can hold pass as they are.
    """
    with going_on() as outcome:
        yield
    error = outcome.error
    if error is None:
        return
    if isinstance(error, CalibrationError) or (isinstance(error, DataError) and "\0" in row_id):
        raise error
    event = f"api: the row of a {what} does not fit its view, it is not shown"
    structlog.get_logger(__name__).error(event, id=row_id, error=in_a_line(error))
    raise RowDamagedError(what, row_id) from error
