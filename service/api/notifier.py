"""Event notifier: one task reads new events for all that wait for them, and hands them out by job.

Long polls and event streams listen to one job each. What is sent of an event is made once, however
many listen.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from service.api.event_messages import Message, messages_of
from service.db.repositories.events import EventRepository
from service.db.session import Database
from service.logs import warn_in_a_line

_RETRY = 1.0  # s until the next query after one that the database did not answer
_BATCH = 1000  # events of one query
_KEPT = 1000  # events that a listener has not taken; one that is further behind reads again


class Listener:
    """Collects the events of one job for one request."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque(maxlen=_KEPT)
        self._arrived = asyncio.Event()
        self.missed = False  # whether more came than is kept here: read the rest from the database

    def hear(self, message: Message) -> None:
        """Keep a new event."""
        self.missed = self.missed or len(self._messages) == _KEPT
        self._messages.append(message)
        self._arrived.set()

    def miss(self) -> None:
        """Note that something came which is not handed out: the database tells the rest."""
        self.missed = True
        self._arrived.set()

    def take(self) -> list[Message]:
        """Return the events that came since the last call, oldest first."""
        taken = list(self._messages)
        self._messages.clear()
        self._arrived.clear()
        self.missed = False
        return taken

    async def wait(self, seconds: float) -> bool:
        """Return True once there is an event to take, False after `seconds` s without one."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True


class EventNotifier:
    """Reads new events while somebody listens."""

    def __init__(self, database: Database, interval: float = 0.2) -> None:
        """Poll `database` every `interval` seconds."""
        self._database = database
        self._interval = interval  # s
        self._listeners: dict[str, set[Listener]] = {}
        self._last = 0  # number of the newest event that was handed out
        self._starting = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, job_id: str) -> AsyncIterator[Listener]:
        """Listen to a job until the block ends.

        Every event that is not yet in the database when the block begins will be heard. Raises
        OperationalError if the database does not answer.
        """
        listener = Listener()
        self._listeners.setdefault(job_id, set()).add(listener)
        try:
            await self._start()
            yield listener
        finally:
            self._listeners[job_id].discard(listener)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    async def close(self) -> None:
        """Stop polling."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _start(self) -> None:
        async with self._starting:
            if self._polling is None or self._polling.done():
                self._last = await run_in_threadpool(self._read_last)
                self._polling = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while self._listeners:
            try:
                more = await run_in_threadpool(self._read)
            except Exception as error:  # the database comes back, and the listeners are kept
                event = "event notifier: polling the database failed, event streams are stalled"
                warn_in_a_line(__name__, event, error)
                await asyncio.sleep(_RETRY)
                continue
            self._hand_out(more)
            self._last = more.last
            if not more.is_full:
                await asyncio.sleep(self._interval)

    def _hand_out(self, news: "_News") -> None:
        for message in news.messages:
            for listener in self._listeners.get(message.job_id, ()):
                listener.hear(message)
        for job_id in news.damaged:
            for listener in self._listeners.get(job_id, ()):
                listener.miss()

    def _read_last(self) -> int:
        with self._database.reading() as session:
            return EventRepository(session).last()

    def _read(self) -> "_News":
        with self._database.reading() as session:
            events = EventRepository(session)
            found = events.jobs_after(self._last, limit=_BATCH)
            # Who listens is looked up after the query: a listener reads what was stored when it
            # began, and would else miss what was stored between that and the query.
            wanted = {seq: str(job_id) for seq, job_id in found if job_id in self._listeners}
            messages = messages_of(events.numbered(list(wanted)).rows)
        damaged = set(wanted) - {message.seq for message in messages}
        last = found[-1][0] if found else self._last
        jobs = frozenset(wanted[seq] for seq in damaged)
        return _News(messages, jobs, last, is_full=len(found) == _BATCH)


class _News(NamedTuple):
    """New events of jobs that somebody listens to."""

    messages: list[Message]
    damaged: frozenset[str]  # jobs with new events that cannot be streamed
    last: int  # number of the newest event of any job
    is_full: bool  # whether there may be more
