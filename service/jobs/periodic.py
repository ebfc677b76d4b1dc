"""Periodic tasks, run by a thread that looks more often than they are due."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from service.db.isolation import going_on

Answer = TypeVar("Answer")


def apart(run: Callable[[], Answer], event: str, **about: str) -> Answer | None:
    """Return what `run` returns; log its error and return None, so that other work goes on.

    `event` names the component, what failed and what follows from it. Raises OperationalError and
    InterfaceError if the database is away: then other work would fail too.
    """
    with going_on() as outcome:
        return run()
    structlog.get_logger(__name__).warning(event, exc_info=outcome.error, **about)
    return None


class PeriodicTask:
    """A task that is run after one interval, and again an interval after each try.

    A task that always fails does so once an interval, and does not hold up the others.
    """

    def __init__(self, run: Callable[[], object], interval: float) -> None:
        """`interval` is in seconds."""
        self._run = run
        self._interval = interval
        self._next = time.monotonic() + interval

    def run_if_due(self) -> None:
        """Run the task, if it is time to. Raises what the task raises."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self._run()
