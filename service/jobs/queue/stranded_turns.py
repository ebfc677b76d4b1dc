"""Turns that this executor took from the queue and never began.

The engine marks a turn as taken, then reads it again to begin with it; where the database goes away
in between, it says so in its log and forgets about it (`start_dequeued_workflows` of DBOS). As its
executor lives, nobody would take the turn over.
"""

from collections.abc import Callable, Collection

import structlog

from service.jobs.queue.dbos_queue import DbosQueue

INTERVAL = 15.0  # s; longer than from taking a turn to beginning with it


class StrandedTurns:
    """Puts them back into the queue. `here` says which turns are being worked on."""

    def __init__(
        self, queue: DbosQueue, executor: str, here: Callable[[], Collection[str]]
    ) -> None:
        self._queue, self._executor, self._here = queue, executor, here
        self._idle: set[str] = set()

    def give_back(self) -> None:
        """Those that lay idle the last time too; to be called every `INTERVAL`."""
        claimed = {turn.name for turn in self._queue.claimed() if turn.executor == self._executor}
        idle = claimed.difference(self._here())
        stranded = sorted(idle & self._idle)
        if stranded:
            structlog.get_logger(__name__).warning("turns were never begun", turns=stranded)
            self._queue.resume(stranded)
        self._idle = idle.difference(stranded)
