"""What a job reported so far: its steps, no more of them than a page shows, and its last words."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.repositories.events import EventRepository
from service.db.tables import Event

PROGRESS = "job.progress"
_FIRST = 16  # reports that are always returned: those before learning begins


class JobHistoryRepository:
    """Reads the events of one job for its page."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._events = EventRepository(session)

    def progress(self, job_id: str, most: int) -> list[Event]:
        """Return the reports of progress, oldest first, evenly thinned to about `most`.

        The first ones and the last one are always there. Which others depends on their number
        alone while it does not double, so that a growing curve keeps its points.
        """
        self._events.last()  # events of this transaction get their numbers
        query = select(Event.seq).where(Event.job_id == job_id, Event.type == PROGRESS)
        seqs = self._session.scalars(query.order_by(Event.seq)).all()
        return self._events.numbered(_thinned(seqs, most)).rows

    def log(self, job_id: str, most: int) -> list[Event]:
        """Return the last events that are no reports of progress, oldest first."""
        self._events.last()
        query = select(Event.seq).where(Event.job_id == job_id, Event.type != PROGRESS)
        seqs = self._session.scalars(query.order_by(Event.seq.desc()).limit(most)).all()
        return self._events.numbered(seqs).rows


def _thinned(seqs: Sequence[int], most: int) -> list[int]:
    stride = 1
    while len(seqs) > most * stride:
        stride *= 2
    last = len(seqs) - 1
    return [
        seq
        for place, seq in enumerate(seqs)
        if place < _FIRST or place % stride == 0 or place == last
    ]
