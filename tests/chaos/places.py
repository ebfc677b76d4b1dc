"""Processes that are struck and come back: killed and started again, frozen and woken."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.chaos.storm import Deed
from tests.integration.jobs_lab import Process
from tests.postgres import EmbeddedServer


class Place:
    """One process of the fleet, whichever stands there now. A second blow waits for the first."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start = start
        self._struck = threading.Lock()
        self.process = start()
        self.revived = 0

    def strike(self, deed: Deed, lasting: float) -> None:
        """And what follows."""
        with self._struck:
            if deed is Deed.KILL:
                self.process.kill()
                time.sleep(lasting)
                self.process = self._start()
            else:
                with frozen(self.process.process.pid, everyone=deed is Deed.FREEZE_ALL):
                    time.sleep(lasting)

    def revive(self) -> None:
        """As whatever supervises it would: a start without a database ends by itself."""
        if self.process.process.poll() is not None and self._struck.acquire(blocking=False):
            try:
                if self.process.process.poll() is not None:
                    self.process.gone()
                    self.process = self._start()
                    self.revived += 1
            finally:
                self._struck.release()

    def close(self) -> None:
        if self.process.process.poll() is None:
            self.process.process.kill()
        self.process.gone()


class DatabasePlace:
    """PostgreSQL with all its sessions."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._struck = threading.Lock()

    def strike(self, deed: Deed, lasting: float) -> None:
        """And what follows."""
        with self._struck:
            if deed is Deed.KILL:
                self._server.kill()
                time.sleep(lasting)
                self._server.start()
            else:
                with frozen(self._server.pid, everyone=True):
                    time.sleep(lasting)


@contextmanager
def frozen(pid: int, *, everyone: bool) -> Iterator[None]:
    """The process stands still, and all that it has started where that is asked for."""
    standing = [psutil.Process(pid)]
    with suppress(psutil.NoSuchProcess):
        standing[0].suspend()
        for child in standing[0].children(recursive=True) if everyone else ():
            with suppress(psutil.NoSuchProcess):
                child.suspend()
                standing.append(child)
    try:
        yield
    finally:
        for process in standing:
            with suppress(psutil.NoSuchProcess):
                process.resume()
