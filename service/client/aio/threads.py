"""Threads in which the client that blocks works for the one that does not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


class Threads:
    """Calls functions in threads, as many at once as it has threads.

    A call whose task is cancelled goes on in its thread until it ends or the client is closed: a
    wait for a job ends then with its long poll, after ten seconds at most.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="tandemcal")

    async def call(self, function: Callable[..., T], *given: Any, **named: Any) -> T:
        """Return what the function returns; it raises what the function raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(function, *given, **named))

    async def each(
        self, function: Callable[..., Iterator[T]], *given: Any, **named: Any
    ) -> AsyncIterator[T]:
        """Yield what the iterator that the function returns yields, each in a call of its own."""
        iterator = await self.call(function, *given, **named)
        while (found := await self.call(next, iterator, _END)) is not _END:
            yield found

    def close(self) -> None:
        """Take no more calls. Those that are in progress end in their threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
