"""Event notifier: long polls and event streams wait here, on one database query for all of them."""

import asyncio

from starlette.concurrency import run_in_threadpool

from service.db.outage import AWAY
from service.db.repositories.events import EventRepository
from service.db.session import Database
from service.logs import warn_in_a_line

_RETRY = 1.0  # s until the next query after one that the database did not answer


class EventNotifier:
    """Wakes requests that wait for a new event. It polls the database only while one waits."""

    def __init__(self, database: Database, interval: float = 0.2) -> None:
        """Poll `database` every `interval` seconds."""
        self._database = database
        self._interval = interval  # s
        self._condition = asyncio.Condition()
        self._waiting = 0
        self._last = 0
        self._polling: asyncio.Task[None] | None = None

    async def wait_past(self, seq: int, timeout: float) -> bool:
        """Return True once there is an event numbered above `seq`, False after `timeout` s."""
        self._waiting += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(timeout), self._condition:
                await self._condition.wait_for(lambda: self._last > seq)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    async def close(self) -> None:
        """Stop polling."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _poll(self) -> None:
        while self._waiting:
            try:
                last = await run_in_threadpool(self._read_last)
            except AWAY as error:  # the database comes back, and the waiting requests are kept
                event = "event notifier: polling the database failed, event streams are stalled"
                warn_in_a_line(__name__, event, error)
                await asyncio.sleep(_RETRY)
                continue
            if last != self._last:
                async with self._condition:
                    self._last = last
                    self._condition.notify_all()
            await asyncio.sleep(self._interval)

    def _read_last(self) -> int:
        with self._database.reading() as session:
            return EventRepository(session).last()
