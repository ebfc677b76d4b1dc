"""Processes that are killed and started again, or frozen and continued."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.chaos.fault_schedule import FaultAction
from tests.integration.jobs_lab import Process
from tests.postgres import EmbeddedServer


class ProcessSupervisor:
    """One process of the fleet, replaced when it dies. A second fault waits for the first."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start = start
        self._injecting = threading.Lock()
        self.process = start()
        self.restarts = 0

    def inject(self, action: FaultAction, duration: float) -> None:
        """Do the action, wait for `duration` seconds, and undo it."""
        with self._injecting:
            if action is FaultAction.KILL:
                self.process.kill()
                time.sleep(duration)
                self.process = self._start()
            else:
                with frozen(
                    self.process.process.pid, with_children=action is FaultAction.FREEZE_ALL
                ):
                    time.sleep(duration)

    def restart_if_ended(self) -> None:
        """Start the process again if it has ended: without a database its start fails."""
        if self.process.process.poll() is not None and self._injecting.acquire(blocking=False):
            try:
                if self.process.process.poll() is not None:
                    self.process.gone()
                    self.process = self._start()
                    self.restarts += 1
            finally:
                self._injecting.release()

    def close(self) -> None:
        if self.process.process.poll() is None:
            self.process.process.kill()
        self.process.gone()


class DatabaseSupervisor:
    """PostgreSQL with all its sessions."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._injecting = threading.Lock()

    def inject(self, action: FaultAction, duration: float) -> None:
        """Do the action, wait for `duration` seconds, and undo it."""
        with self._injecting:
            if action is FaultAction.KILL:
                self._server.kill()
                time.sleep(duration)
                self._server.start()
            else:
                with frozen(self._server.pid, with_children=True):
                    time.sleep(duration)


@contextmanager
def frozen(pid: int, *, with_children: bool) -> Iterator[None]:
    """Suspend a process, and its children too where that is asked for, for as long as the block."""
    standing = [psutil.Process(pid)]
    with suppress(psutil.NoSuchProcess):
        standing[0].suspend()
        for child in standing[0].children(recursive=True) if with_children else ():
            with suppress(psutil.NoSuchProcess):
                child.suspend()
                standing.append(child)
    try:
        yield
    finally:
        for process in standing:
            with suppress(psutil.NoSuchProcess):
                process.resume()
