"""Batches: what comes together is worked on together, in one thread and one transaction.

While one batch is worked on, what arrives waits for the next. After a batch of several a moment
passes: the clients that were just answered often ask again at once, and join those that wait. A
lone request does not wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread

from service.db.outage import AWAY

Item = TypeVar("Item")
Found = TypeVar("Found")
_MOMENT_S = 0.001
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
        happened: each item is then worked on alone. So is one whose outcome is `WorkAlone`.
        """
        self._work, self._threads, self._most = work, threads, most
        self._waiting: list[_Waiting[Item, Found]] = []
        self._running: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()

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
            for one, outcome in zip(batch, await self._together(batch), strict=True):
                if isinstance(outcome, WorkAlone):
                    self._start(one)
                else:
                    one.hear(outcome)
            if len(batch) > 1:
                await asyncio.sleep(_MOMENT_S)
        self._running = None

    async def _together(
        self, batch: Sequence["_Waiting[Item, Found]"]
    ) -> Sequence[Found | Exception]:
        items = [one.item for one in batch]
        try:
            return await to_thread.run_sync(self._work, items, limiter=self._threads)
        except AWAY as error:  # it would be away for each of them
            return [error] * len(batch)
        except Exception as error:  # of one of them, maybe
            return [error if len(batch) == 1 else WorkAlone()] * len(batch)

    def _start(self, one: "_Waiting[Item, Found]") -> None:
        """Work on an item alone, beside the batches: what it waits for holds up nobody else."""

        async def alone() -> None:
            (outcome,) = await self._together([one])
            one.hear(outcome)

        task = asyncio.create_task(alone())
        self._alone.add(task)  # the loop itself would forget it
        task.add_done_callback(self._alone.discard)


class WorkAlone(Exception):  # noqa: N818  # a wish, not an error
    """The outcome of an item in a batch that has to be worked on by itself."""


class _Waiting(NamedTuple, Generic[Item, Found]):
    item: Item
    outcome: "asyncio.Future[Found | Exception]"

    def hear(self, outcome: Found | Exception) -> None:
        """Hand over the outcome, unless the client has gone."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)
