"""When each key was last used: noted in memory, and written at most once a minute.

A request that only reads must not wait for the database to write.
"""

import asyncio
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from service.db.outage import AWAY
from service.db.repositories.keys import KeyRepository
from service.db.session import Database
from service.logs import warn_in_a_line

_WRITE_EVERY = 60.0  # s


class KeyUse:
    """Collects the last use of keys, and writes it now and then."""

    def __init__(self, database: Database, interval: float = _WRITE_EVERY) -> None:
        self._database = database
        self._interval = interval  # s
        self._used: dict[str, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, key_id: str, now: datetime) -> None:
        """Note that a key was used now."""
        self._used[key_id] = now

    def start(self) -> None:
        """Write from now on, in a task of the running event loop."""
        self._writing = asyncio.create_task(self._write_regularly())

    async def stop(self) -> None:
        """Write for the last time."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await run_in_threadpool(self.write)

    def write(self) -> None:
        """Write what was noted; it is kept for later if the database does not answer.

        Raises nothing: what cannot be written is logged.
        """
        used, self._used = self._used, {}
        if not used:
            return
        try:
            with self._database.writing() as session:
                KeyRepository(session).note_use(used)
        except AWAY as error:
            self._used = used | self._used
            warn_in_a_line(__name__, "keys: their last use was not written, later again", error)
        except Exception as error:  # a fault of ours ends neither the task nor the shutdown
            warn_in_a_line(__name__, "keys: their last use cannot be written, it is lost", error)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await run_in_threadpool(self.write)
