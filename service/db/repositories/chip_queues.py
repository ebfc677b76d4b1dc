"""The jobs that wait for each chip, and whether one of them keeps the chip for itself."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_, select, text
from sqlalchemy.orm import Session

from service.db.tables import OPEN_JOBS, Job
from service.states import WAITING

_FOLLOWS = '"follows": "'  # in a request for last trims, as text: one need not be valid JSON


class ChipQueue(NamedTuple):
    """The jobs of one chip that have not ended."""

    depth: int = 0  # how many wait
    reserved: bool = False  # see `ChipState`; also while one of them runs


class ChipQueueRepository:
    """Reads the queues of chips."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, chip_ids: Sequence[str]) -> dict[str, ChipQueue]:
        """Return the queue of each of these chips; chips without jobs that wait or run are absent.

        A chip is reserved by a job that was handed to the workers, or by last trims that wait.
        """
        waits = Job.status.in_(WAITING)
        trims = cast(Job.request, Text).contains(_FOLLOWS)
        reserves = or_(Job.called_at.is_not(None), and_(waits, trims))
        query = (
            select(Job.chip_id, _count(waits), _count(reserves))
            .where(Job.chip_id.in_(chip_ids), text(OPEN_JOBS))
            .group_by(Job.chip_id)
        )
        found = self._session.execute(query)
        return {chip: ChipQueue(depth, reserved > 0) for chip, depth, reserved in found if chip}


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))
