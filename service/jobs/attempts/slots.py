"""Slots: how many jobs run at once, and which of those that wait goes first."""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.jobs.errors import ServiceStoppingError

Rank = tuple[int, str]  # priority, then the time-ordered id: the smallest goes first


class Slots:
    """A fixed number of slots; a job that waits for its chip holds none."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[Rank] = []
        self._stopping = False
        self._changed = threading.Condition()

    @contextmanager
    def one(self, rank: Rank) -> Iterator[None]:
        """Wait for a slot and hold it. Raises ServiceStoppingError once `stop` was called."""
        self._acquire(rank)
        try:
            yield
        finally:
            self._release()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a slot."""
        return len(self._waiting)

    def stop(self) -> None:
        """Give out no slot any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _acquire(self, rank: Rank) -> None:
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._changed.wait_for(lambda: self._stopping or self._is_next(rank))
            if self._stopping:
                raise ServiceStoppingError()
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()

    def _release(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def _is_next(self, rank: Rank) -> bool:
        return self._free > 0 and self._waiting[0] == rank
