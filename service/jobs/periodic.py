"""What has to be done now and then, by whoever looks around more often than that."""

import time
from collections.abc import Callable


class Duty:
    """Done for the first time after one interval, and again an interval after each try.

    A duty that always fails does so once an interval, and does not keep others from their turn.
    """

    def __init__(self, do: Callable[[], object], interval: float) -> None:
        self._do = do
        self._interval = interval  # s
        self._next = time.monotonic() + interval

    def look(self) -> None:
        """Do it, if it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self._do()
