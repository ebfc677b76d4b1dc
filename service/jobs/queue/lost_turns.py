"""Turns that were called, and that the engine knows nothing of: it has ended them by itself.

An error in the engine's own work ends a workflow, such as a database that goes away for longer than
it waits. The job must not stay called for ever.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from service.db.repositories.jobs import JobRepository
from service.db.repositories.turns import Turn, TurnRepository, take_back
from service.db.session import Database, clock
from service.jobs.queue.dbos_queue import DbosQueue
from service.states import ACTIVE, TERMINAL

_OLD = timedelta(seconds=60)  # a turn that was called longer ago stands in the engine's tables
INTERVAL = 30.0  # s between two looks


class LostTurns:
    """Gives them back, so that the jobs are called again."""

    def __init__(self, database: Database, queue: DbosQueue, silence: timedelta) -> None:
        self._database = database
        self._queue = queue
        self._silence = silence

    def give_back(self) -> None:
        """All that there are."""
        with self._database.reading() as session:
            called = TurnRepository(session, self._silence).called_before(clock(session) - _OLD)
        known = self._queue.open_turns([turn.name for turn in called])
        for turn in called:
            if turn.name not in known:
                structlog.get_logger(__name__).warning("a turn was lost", turn=turn.name)
                with self._database.writing() as session:
                    _give_back(session, turn, clock(session))


def _give_back(session: Session, turn: Turn, now: datetime) -> None:
    jobs = JobRepository(session)
    job = jobs.lock(turn.job_id)
    if job.status in TERMINAL or job.turn != turn.number or job.called_at is None:
        return  # it has ended, or was called again, since
    if job.status in ACTIVE and job.token is not None:
        jobs.put_back(job.id, job.token, "its worker has lost it", now)
    take_back(session, job.id, turn.number)
