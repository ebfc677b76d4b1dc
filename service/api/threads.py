"""Threads of requests: changes and uploads have some of their own.

Changes wait for each other in the database. With the threads of all requests they would also take
those of requests that only read.
"""

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from service.api.conditional import answered_once

Found = TypeVar("Found")
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})  # methods of requests that change something
_WRITERS = 8  # more than write at a time: SQLite has one writer, PostgreSQL locks rows
_UPLOADS = 4  # each holds a whole upload in memory while it is checked
_OPENINGS = 2  # each is a process that loads torch, and may take its whole time limit


class Threads(NamedTuple):
    """How many threads may run at a time, by what they do.

    Requests that only read run in threads of Starlette's own, which these limits leave alone.
    """

    writers: CapacityLimiter
    uploads: CapacityLimiter
    openings: CapacityLimiter  # of drivers


def make_threads() -> Threads:
    """Return the limits for one event loop, in which it has to be called."""
    return Threads(CapacityLimiter(_WRITERS), CapacityLimiter(_UPLOADS), CapacityLimiter(_OPENINGS))


async def run_in(limiter: CapacityLimiter, function: Callable[..., Found], *args: Any) -> Found:
    """Run a function in a thread, once fewer than the limit are running."""
    return await to_thread.run_sync(function, *args, limiter=limiter)


class ChangingRoute(APIRoute):
    """A route whose endpoint runs in a thread for writers, if it is one that changes something.

    The body of the request has been read by then: a slow client holds no thread.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        changes = CHANGES & set(options.get("methods") or ())
        if changes and not iscoroutinefunction(endpoint):
            endpoint = _in_writer_thread(endpoint)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests; what only reads is not sent again unchanged."""
        handle = super().get_route_handler()
        return handle if CHANGES & set(self.methods or ()) else answered_once(handle)


class ServiceRouter(APIRouter):
    """A router whose changing routes run in threads for writers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=ChangingRoute, **options)


def _in_writer_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return an endpoint that waits for a thread; it must take the `context`."""

    @wraps(endpoint)
    async def run(**given: Any) -> Any:
        return await run_in(given["context"].threads.writers, partial(endpoint, **given))

    return run
