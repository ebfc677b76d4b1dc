"""Processes that are killed and started again, or frozen and continued."""

import errno
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.chaos.fault_schedule import FaultAction
from tests.integration.jobs_lab import Process
from tests.postgres import EmbeddedServer

_DISK_MIB = 64


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
            if action in (FaultAction.KILL, FaultAction.MOVE):
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


class SmallDisk:
    """A file system of its own below the artifacts, small enough to be filled.

    It needs the right to mount; without it the disk is never filled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.filled = folder, 0
        self._injecting = threading.Lock()
        with tempfile.TemporaryDirectory() as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)]
            self.can_be_filled = subprocess.run(mount, capture_output=True).returncode == 0
            shutil.copytree(aside, folder, dirs_exist_ok=True)

    def inject(self, action: FaultAction, duration: float) -> None:
        """Leave no byte free for `duration` seconds."""
        assert action is FaultAction.FILL
        with self._injecting:
            filler = self._folder / "filler"
            if self.can_be_filled:
                self._fill(filler)
            time.sleep(duration)
            filler.unlink(missing_ok=True)

    def close(self) -> None:
        if self.can_be_filled:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    def _fill(self, filler: Path) -> None:
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**20))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.filled += 1


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
