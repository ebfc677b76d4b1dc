"""What happens between the jobs: the next ones are called, late ones end, the dead are replaced.

Every process that knows the queue has one. They do not disturb each other: locks in the database
see to it that one of them works at a time.
"""

import threading
from datetime import timedelta

import structlog

from service.db import locks
from service.db.outage import AWAY
from service.db.repositories.deadlines import DeadlineRepository
from service.db.session import Database, clock
from service.jobs.periodic import Duty
from service.jobs.queue import lost_turns
from service.jobs.queue.dbos_queue import DbosQueue
from service.jobs.queue.failover import Failover
from service.jobs.queue.lost_turns import LostTurns
from service.logs import warn_in_a_line

_INTERVAL = 1.0  # s between two looks; the end of a job is one more occasion


class Keeper:
    """A thread that looks after the queue."""

    def __init__(self, database: Database, queue: DbosQueue, silence: timedelta) -> None:
        self._database = database
        self._queue = queue
        self._failover = Failover(database, queue, silence)
        lost = LostTurns(database, queue, silence)
        self._duties = [Duty(lost.give_back, lost_turns.INTERVAL)]
        self._occasion = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def also(self, duty: Duty) -> None:
        """Before the start: one more thing to look after."""
        self._duties.append(duty)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A job has ended: another one may be called."""
        self._occasion.set()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._stopping = True
            self._occasion.set()
            self._thread.join()

    def look(self) -> None:
        """Once. An error, such as a database that is away, is told and forgotten."""
        try:
            if self._anything_to_do():
                self._call()
            self._failover.look()
            for duty in self._duties:
                duty.look()
        except AWAY as error:
            self._failover.unsure()
            warn_in_a_line(__name__, "the queue was not looked after", error)
        except Exception:
            self._failover.unsure()
            structlog.get_logger(__name__).warning("the queue was not looked after", exc_info=True)

    def _keep(self) -> None:
        while not self._stopping:
            self._occasion.clear()
            self.look()
            self._occasion.wait(_INTERVAL)

    def _anything_to_do(self) -> bool:
        """Asked without holding up those who write."""
        with self._database.reading() as session:
            now = clock(session)
            return self._queue.any_to_call(session, now) or DeadlineRepository(session).any_late(
                now
            )

    def _call(self) -> None:
        with self._database.writing() as session:
            locks.hold(session, locks.KEEPER)
            now = clock(session)
            DeadlineRepository(session).expire(now)
            self._queue.call_next(session, now)
