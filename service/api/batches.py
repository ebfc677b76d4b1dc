"""Batches: what comes together is worked on together, in one thread and one transaction.

While one batch is worked on, what arrives waits for the next. A lone request does not wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread

from service.db.outage import AWAY

Item = TypeVar("Item")
Found = TypeVar("Found")
_MOST = 32  # in one batch, so that a transaction stays short


class Batches(Generic[Item, Found]):
    """Hands items to a function, as many at a time as have come."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Found | Exception]],
        threads: CapacityLimiter | None = None,
        most: int = _MOST,
    ) -> None:
        """`work` returns what becomes of each item; an error is raised to the one who sent it.

        It runs in one of `threads`, or of those that read. If it raises, nothing must have
        happened: each item is then worked on alone.
        """
        self._work, self._threads, self._most = work, threads, most
        self._waiting: list[_Waiting[Item, Found]] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Found:
        """Return what the work makes of this item. Raises the error that it ends in."""
        outcome: asyncio.Future[Found | Exception] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, outcome))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        found = await outcome
        if isinstance(found, Exception):
            raise found
        return found

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            found = await self._together([one.item for one in batch])
            for one, outcome in zip(batch, found, strict=True):
                if not one.outcome.done():  # its client has not gone
                    one.outcome.set_result(outcome)
        self._running = None

    async def _together(self, items: Sequence[Item]) -> Sequence[Found | Exception]:
        try:
            return await to_thread.run_sync(self._work, items, limiter=self._threads)
        except AWAY as error:  # it would be away for each of them
            return [error] * len(items)
        except Exception as error:  # of one of them, maybe
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in await self._together([item])]


class _Waiting(NamedTuple, Generic[Item, Found]):
    item: Item
    outcome: "asyncio.Future[Found | Exception]"
