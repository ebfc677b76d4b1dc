"""Work that a second thread does ahead, where the process may use two.

What is done ahead does not depend on when it is done, so the answers of a chip are the same on one
thread or two. Work that the second thread has not begun when it is needed is done at once instead.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

Made = TypeVar("Made")


class Later(Generic[Made]):
    """Something that is made once, by the second thread or by the one that needs it."""

    def __init__(self, make: Callable[[], Made], begun: "Future[Made] | None" = None) -> None:
        """`begun` is the place of the work in the queue of the second thread."""
        self._make, self._begun = make, begun

    def result(self) -> Made:
        """Return what was made. Raises what `make` raises."""
        if self._begun is None or self._begun.cancel():
            return self._make()
        return self._begun.result()

    def drop(self) -> None:
        """Wait until no thread works on it any more; it is not needed."""
        if self._begun is not None and not self._begun.cancel():
            self._begun.exception()


class SecondThread:
    """A thread beside the one that runs the chip; it begins to work while it is `used`."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self.is_used = False  # whether work is done ahead

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use it where torch may use two threads; each of the two then computes by itself."""
        threads = torch.get_num_threads()
        if threads == 1 or self.is_used:
            yield
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "chip", _compute_alone)
        self.is_used = True
        torch.set_num_threads(1)
        try:
            yield
        finally:
            self.is_used = False
            torch.set_num_threads(threads)

    def later(self, make: Callable[[], Made]) -> Later[Made]:
        """Return what `make` makes, begun by the second thread if it is used."""
        if self._pool is None or not self.is_used:
            return Later(make)
        return Later(make, self._pool.submit(make))


def _compute_alone() -> None:
    """Let operations of this thread start no threads of their own."""
    torch.set_num_threads(1)
